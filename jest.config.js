export default {
  testMatch: ["<rootDir>/tests/**/*.test.ts"],
  extensionsToTreatAsEsm: [".ts"],
  transform: {
    "^.+\\.ts$": [
      "@swc/jest",
      { jsc: { parser: { syntax: "typescript" }, target: "es2022" }, module: { type: "es6" } },
    ],
  },
  // Slow checks are for `npm run test:full`.
  testPathIgnorePatterns: process.env["Q3C_FULL"]
    ? ["/node_modules/"]
    : ["/node_modules/", "<rootDir>/tests/full/"],
  setupFiles: ["<rootDir>/tests/setup.ts"],
  testEnvironment: "node",
  testTimeout: 120_000,
};
