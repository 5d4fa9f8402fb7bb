/** The last line of a run of the tests, for programs and for people who scroll: `N passed, N failed`. */
import type { Reporter, TestModule } from "vitest/node";

export default class PlainSummary implements Reporter {
  /** A file or group that could not be run, and an error outside of all tests, count as one failure each. */
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const count = (state: string) => tests.filter((test) => test.result().state === state).length;
    const groups = modules.flatMap((module) => [module, ...module.children.allSuites()]);
    const broken = groups.filter((group) => group.errors().length > 0).length;
    const skipped = count("skipped");
    const failed = count("failed") + broken + unhandledErrors.length;
    // When all reporters have said what they have to say.
    process.on("exit", () => {
      console.log(`${count("passed")} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
    });
  }
}
