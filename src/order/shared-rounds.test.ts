import { describe, expect, it } from "vitest";
import { SharedRounds } from "./shared-rounds.ts";

describe("shared rounds", () => {
  it("begin one after the other, also when the work itself leads to the question for the next", async () => {
    const steps: string[] = [];
    let asked: Promise<void> | undefined;
    const rounds: SharedRounds<string> = new SharedRounds(async () => {
      const number = steps.length / 2 + 1;
      steps.push(`${number} begins`);
      asked ??= rounds.run("file");
      await new Promise((resolve) => setImmediate(resolve));
      steps.push(`${number} ends`);
    });
    await rounds.run("file");
    await asked;
    expect(steps).toEqual(["1 begins", "1 ends", "2 begins", "2 ends"]);
    expect(rounds.isRunning("file")).toBe(false);
  });

  it("are shared by all who ask while one is under way", async () => {
    let begun = 0;
    const rounds = new SharedRounds<string>(async () => {
      begun += 1;
      await new Promise((resolve) => setImmediate(resolve));
    });
    await Promise.all([rounds.run("file"), rounds.run("file"), rounds.run("file"), rounds.run("other")]);
    expect(begun).toBe(3);
  });
});
