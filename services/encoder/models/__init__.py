"""What a model is: its card, where its weights come from, and the graph that is built of them."""
