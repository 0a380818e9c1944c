// `npx q3c` in a clone finds node_modules/.bin/q3c: npm links the bins of dependencies there, but not those of
// the package itself.
import { chmodSync, mkdirSync, rmSync, symlinkSync } from "node:fs";

chmodSync("dist/cli/main.js", 0o755);
mkdirSync("node_modules/.bin", { recursive: true });
rmSync("node_modules/.bin/q3c", { force: true });
symlinkSync("../../dist/cli/main.js", "node_modules/.bin/q3c");
