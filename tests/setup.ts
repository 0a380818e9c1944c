// Every random property of a run starts from one seed: Q3C_SEED=<integer>, or `random` to explore. fast-check prints
// the seed with a failure, and the same seed gives the same failure.
import fc from "fast-check";

const given = process.env["Q3C_SEED"] ?? "20250607";
const seed = given === "random" ? Math.floor(Math.random() * 2 ** 31) : Number(given);
if (!Number.isSafeInteger(seed)) throw new Error(`Q3C_SEED is an integer or \`random\`, not ${given}`);
fc.configureGlobal({ ...fc.readConfigureGlobal(), seed });
