// The list of ops. Adding one: write its record, name it in its file's list.
import { attentionOps } from "./attention.ts";
import { cacheOps } from "./cache.ts";
import { causalConv1d } from "./causal-conv.ts";
import { deltaRuleOps } from "./delta-rule.ts";
import { dotGeneral } from "./dot-general.ts";
import { elementwiseOps } from "./elementwise.ts";
import { fused } from "./fused.ts";
import { indexingOps } from "./indexing.ts";
import { normalizationOps } from "./normalization.ts";
import type { OpDef } from "./op.ts";
import { optimizerOps } from "./optimizer.ts";
import { reduceOps } from "./reduce.ts";
import { rematOps } from "./remat.ts";
import { scan } from "./scan.ts";
import { structuralOps } from "./structural.ts";

export const ops: readonly OpDef[] = [
  ...elementwiseOps,
  ...structuralOps,
  ...reduceOps,
  dotGeneral,
  ...indexingOps,
  scan,
  ...rematOps,
  fused,
  ...normalizationOps,
  ...attentionOps,
  ...cacheOps,
  causalConv1d,
  ...deltaRuleOps,
  ...optimizerOps,
];

const byName: ReadonlyMap<string, OpDef> = new Map(ops.map((op) => [op.name, op]));

export const findOp = (name: string): OpDef | undefined => byName.get(name);
export const opNames: readonly string[] = ops.map((op) => op.name);
