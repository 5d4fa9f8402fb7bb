/** The tables of causes as a whole: each has its scenario, and says what it has to say in the form of the others. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { LAN_CAUSES, NODE_CAUSES } from "../../src/cluster/diagnosis/index.ts";

const causes = [...NODE_CAUSES, ...LAN_CAUSES];
const here = import.meta.dirname;
const scenarios = readdirSync(here)
  .filter((name) => name.endsWith("-scenarios.test.ts"))
  .map((name) => readFileSync(join(here, name), "utf8"))
  .join("\n");

describe("the causes", () => {
  it("have each an id of their own", () => {
    expect(new Set(causes.map(({ id }) => id)).size).toBe(causes.length);
    expect(causes.length).toBeGreaterThan(40);
  });

  it.each(causes.map((cause) => [cause.id, cause] as const))(
    "%s has a scenario, and texts as sentences",
    (id, cause) => {
      expect(id).toMatch(/^[a-z0-9]+(-[a-z0-9]+)+$/);
      expect(scenarios).toContain(`"${id}"`);
      for (const text of [cause.title, cause.sign, cause.remedy]) expect(text).toMatch(/[^.\s]$/);
      // A sentence may begin with the name of a file.
      expect(cause.title).toMatch(/^([A-Z]|[a-z]+\.[a-z]+ )/);
      expect(cause.remedy).toMatch(/^[A-Z]/);
      expect(cause.source).not.toBe("");
    },
  );
});
