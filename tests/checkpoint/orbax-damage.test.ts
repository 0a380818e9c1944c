// One file of a checkpoint is damaged, cut, lengthened or deleted: reading it is right, or says what is wrong.
import { test } from "@jest/globals";
import { DAMAGED, expectDamageFound } from "./damage-support.ts";

test.each(DAMAGED)("$name", (damaged) => expectDamageFound(damaged, 40));
