#!/usr/bin/env node
console.log("q3c");
