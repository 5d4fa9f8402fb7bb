/** docs/ERRORS.md and the code say the same: every message of the one is in the other. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { formOf, formsInDocument, formsInSource, messagesIn } from "./error-messages.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const inSource = formsInSource(join(ROOT, "src"));
const inDocument = formsInDocument(readFileSync(join(ROOT, "docs/ERRORS.md"), "utf8"));

describe("docs/ERRORS.md", () => {
  it("explains every message that the program has", () => {
    const missing = [...inSource].filter(([form]) => !inDocument.has(form));
    expect(missing.map(([form, file]) => `${form}   (${file})`)).toEqual([]);
  });

  it("explains no message that the program does not have", () => {
    expect([...inDocument].filter((form) => !inSource.has(form))).toEqual([]);
  });

  it("is compared with what is really in the code", () => {
    expect(inSource.size).toBeGreaterThan(50);
    expect([...inSource.keys()]).toContain("Cannot use …");
  });
});

describe("reading messages from code", () => {
  it.each([
    ['throw new Error("Cannot tell the time: no clock");', "Cannot tell the time"],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the source code that is read
    ["x(`Cannot place ${JSON.stringify({ a: 1 })}: its folder is a loop`)", "Cannot place …"],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: it is the source code that is read
    ['y(`Cannot import ${source}: "${why}"`)', "Cannot import …"],
    ["const one = 'Cannot say \\'this\\', or that';", "Cannot say 'this'"],
  ])("%s", (source, form) => {
    expect(messagesIn(source).map(formOf)).toEqual([form]);
  });

  it("passes over comments and the bare word", () => {
    expect(messagesIn('/** "Cannot be": an example */\n// "Cannot be"\nstartsWith("Cannot ")')).toEqual([]);
  });
});
