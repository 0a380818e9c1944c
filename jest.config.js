export default {
  // Slow checks are for `npm run test:full`, which runs those alone.
  testMatch: process.env["Q3C_FULL"]
    ? ["<rootDir>/tests/full/**/*.test.ts"]
    : ["<rootDir>/tests/!(full)/**/*.test.ts", "<rootDir>/tests/*.test.ts"],
  extensionsToTreatAsEsm: [".ts"],
  transform: {
    "^.+\\.ts$": [
      "@swc/jest",
      { jsc: { parser: { syntax: "typescript" }, target: "es2022" }, module: { type: "es6" } },
    ],
  },
  setupFiles: ["<rootDir>/tests/setup.ts"],
  testEnvironment: "node",
  // Two cores run two suites; jest alone would leave one of them idle.
  maxWorkers: 2,
  testTimeout: 120_000,
};
