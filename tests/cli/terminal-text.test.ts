// What a terminal is shown.
import { expect, test } from "@jest/globals";
import fc from "fast-check";
import { shownText } from "../../cli/terminal-text.ts";

test("escape sequences are spelled out, line ends and letters of all kinds stay", () => {
  expect(shownText("a\u001b[31mb\r\u0007\u009b2J\u007f")).toBe("a\\x1b[31mb\\x0d\\x07\\x9b2J\\x7f");
  expect(shownText("é\t🙂\n")).toBe("é\t🙂\n");
});

test("nothing that a terminal obeys is left, and nothing else is touched", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      const shown = shownText(text);
      expect([...shown].every((one) => one === "\n" || one === "\t" || !/\p{Cc}/u.test(one))).toBe(true);
      if (!/\p{Cc}/u.test(text)) expect(shown).toBe(text);
    }),
  );
});
