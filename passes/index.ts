// The passes, and the pipelines they make up.
import { canonicalize } from "./canonicalize.ts";
import { commonSubexpressions } from "./common-subexpressions.ts";
import { deadCode } from "./dead-code.ts";
import type { Pass } from "./pass.ts";

/** Every pass by itself, for `q3c opt` and `q3c explain`. */
export const passes: readonly Pass[] = [canonicalize, commonSubexpressions, deadCode];
