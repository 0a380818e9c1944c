// What the compiler offers to programs: configurations, architectures, IR and the training programs.
export type { Elaborated, ElaborateOptions } from "./arch/context.ts";
export { elaborate } from "./arch/elaborate.ts";
export { parseArchitecture } from "./arch/syntax.ts";
export { differentiate } from "./autodiff/differentiate.ts";
export { type Config, type LoadOptions, loadConfig } from "./config/load.ts";
export { type Diagnostic, formatDiagnostic, Q3Error } from "./diag.ts";
export { parseModule } from "./ir/parse.ts";
export { printModule } from "./ir/print.ts";
export type { Block, Dim, Module, Node, TensorType, Value } from "./ir/types.ts";
export { verifyModule } from "./ir/verify.ts";
export { forwardModel, modelFlops, moduleStats } from "./model.ts";
export { gradientProgram, lossProgram, updateProgram } from "./training.ts";
