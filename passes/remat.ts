// What the forward pass keeps for the backward pass: layers become `remat` regions that follow a policy.
import { type LayerReport, layerKinds, measured, wrapLayers } from "../compiler/autodiff/remat.ts";
import { tensorNames } from "../compiler/config/keys/remat.ts";
import { didYouMean, fail } from "../compiler/diag.ts";
import { allNodes } from "../compiler/ir/rewrite.ts";
import type { Module } from "../compiler/ir/types.ts";
import { policyNamed, policyNames, type RematPolicy } from "../compiler/remat-policies.ts";
import type { Pass } from "./pass.ts";

const places = ["device", "offload", "remat"];

/** Refuses a word that is none of the known ones, or missing. */
function unknown(
  { code, what }: { readonly code: string; readonly what: string },
  name: string,
  known: readonly string[],
): never {
  const problem = name === "" ? `a ${what} is missing` : `there is no ${what} ${name}`;
  const message = `${problem}; there are ${known.join(", ")}`;
  return fail({ code, message, help: didYouMean(name, known) }, 2);
}

const noPolicy = { code: "unknown-policy", what: "remat policy" };
const noTensor = { code: "unknown-tensor", what: "tensor" };
const noPlace = { code: "unknown-place", what: "place" };

/** Reads `minimal`, or `custom, query_proj=device, gdn_out=offload`. */
export function readPolicy(text: string): RematPolicy {
  const [first = "", ...rest] = text.split(",").map((part) => part.trim());
  const name = policyNames.find((each) => each === first) ?? unknown(noPolicy, first, policyNames);
  const given = rest.map((part) => {
    const [tensor = "", place = ""] = part.split("=");
    if (!tensorNames.includes(tensor)) unknown(noTensor, tensor, tensorNames);
    if (!places.includes(place)) unknown(noPlace, place, places);
    return { tensor, place };
  });
  if (given.length > 0 && name !== "custom")
    fail(
      {
        code: "policy-tensors",
        message: `the remat policy ${name} says itself what it keeps; custom takes tensors`,
      },
      2,
    );
  const at = (wanted: string): string[] =>
    given.flatMap(({ tensor, place }) => (place === wanted ? [tensor] : []));
  return policyNamed(name, { save: at("device"), offload: at("offload") });
}

const size = (bytes: number): string =>
  bytes < 2 ** 20 ? `${bytes} bytes` : `${(bytes / 2 ** 20).toFixed(1)} MiB`;
/** How much of a whole, in percent. */
export const share = (part: number, whole: number): string =>
  `${((100 * part) / Math.max(whole, 1)).toFixed(1)} %`;

function sentence({ times, deviceBytes, hostBytes, flops, extraFlops }: LayerReport): string {
  const who = times === 1 ? "1 block keeps" : `${times} blocks keep`;
  const host = hostBytes > 0 ? ` and ${size(hostBytes)} on the host` : "";
  const each = times === 1 ? "" : " each";
  return `${who} ${size(deviceBytes)} on the device${host}${each}, ${extraFlops.toExponential(3)} FLOPs again (${share(extraFlops, flops)} of forward)`;
}

/** Tensors that a policy was told to keep and that no value is called. */
function missing({ body }: Module, { name, save, offload }: RematPolicy): readonly string[] {
  const here = new Set([...allNodes(body)].map(({ op, attrs }) => op.tag?.(attrs)));
  return name === "custom" ? [...save, ...offload].filter((tensor) => !here.has(tensor)) : [];
}

/** Puts each layer, or the body of the loop over layers, into a region that keeps what the policy says. */
export const remat = (policy: RematPolicy): Pass => ({
  name: "remat",
  doc: "Put layers into regions of which the backward pass keeps what the remat policy names and computes the rest again.",
  told: (text) => remat(readPolicy(text)),
  run(module, remark) {
    const body = wrapLayers(module.body, policy);
    const kinds = layerKinds(body);
    if (policy.everything) remark(`${policy.name}: all that the backward pass reads is kept`);
    else if (kinds.length === 0)
      remark(`${policy.name}: no layers; they lie between decoder_layer_input and decoder_layer_output`);
    for (const report of kinds.flatMap((kind) => measured(kind, [policy])))
      remark(`${policy.name}: ${sentence(report)}`);
    for (const tensor of missing(module, policy)) remark(`${policy.name}: nothing here is called ${tensor}`);
    return { ...module, body };
  },
});

export type PolicyRow = { readonly policy: string; readonly blocks: readonly LayerReport[] };

/** What every policy (custom as given) keeps and computes again, per kind of block. */
export function rematRows(
  { body }: Module,
  custom: RematPolicy = readPolicy("custom"),
): readonly PolicyRow[] {
  const policies = policyNames.map((name) => policyNamed(name, custom));
  const kinds = layerKinds(wrapLayers(body, readPolicy("full"))).map((kind) => measured(kind, policies));
  return policyNames.map((policy, i) => ({
    policy,
    blocks: kinds.flatMap((reports) => reports.slice(i, i + 1)),
  }));
}
