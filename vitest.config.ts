import { defineConfig } from "vitest/config";

// Unit tests sit beside their file; test/ holds what needs real clients, images, namespaces or QEMU.
export default defineConfig({
  test: {
    globalSetup: ["test/shared-folder.ts"],
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    testTimeout: 30_000,
    hookTimeout: 120_000,
    pool: "forks",
    maxWorkers: 2,
    reporters: ["default", "./test/plain-summary.ts"],
  },
});
