// Choosing tfjs's executing backend: wasm, or the plain JavaScript one where wasm does not start.
import { engine, setBackend } from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-backend-cpu";
import "@tensorflow/tfjs-backend-wasm";

export type BackendName = "wasm" | "cpu";

/** Starts the preferred backend, or the next one; says which and why. */
export async function startBackend(
  preferred: BackendName = "wasm",
): Promise<{ name: BackendName; why: string }> {
  if (preferred === "wasm" && (await setBackend("wasm").catch(() => false)))
    return { name: "wasm", why: "wasm starts" };
  await setBackend("cpu");
  return { name: "cpu", why: preferred === "cpu" ? "asked for" : "wasm does not start here" };
}

/** Makes a started backend the current one; tracing may have put another in its place. */
export function useBackend(name: BackendName): void {
  if (engine().backendName !== name) void setBackend(name);
}
