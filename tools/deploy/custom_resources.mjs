// Holds custom resources to the types that their makers publish. Reads a JSON array of objects from standard input;
// prints a JSON array with, for each, its faults, or null where no package knows its kind.
// Run in the folder that holds node_modules: node custom_resources.mjs < objects.json
import { readFileSync } from "node:fs";

const PACKAGES = {
  "cert-manager.io/v1": "@kubernetes-models/cert-manager/cert-manager.io/v1",
  "keda.sh/v1alpha1": "@kubernetes-models/keda/keda.sh/v1alpha1",
  "monitoring.coreos.com/v1": "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1",
};

async function faults(object) {
  if (!(object.apiVersion in PACKAGES)) return null;
  const types = await import(PACKAGES[object.apiVersion]);
  if (!(object.kind in types)) return [`${object.apiVersion} has no kind ${object.kind}`];
  try {
    new types[object.kind](object).validate();
    return [];
  } catch (error) {
    return error.message.split("\n");
  }
}

const objects = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(await Promise.all(objects.map(faults))));
