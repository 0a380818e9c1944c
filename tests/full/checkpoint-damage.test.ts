// As in tests/checkpoint/orbax-damage.test.ts, for a thousand damages of each checkpoint.
import { test } from "@jest/globals";
import { DAMAGED, expectDamageFound } from "../checkpoint/damage-support.ts";

test.each(DAMAGED)("$name", (damaged) => expectDamageFound(damaged, 1000));
