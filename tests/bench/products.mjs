// How fast few rows meet a wide matrix, as in decoding: gigabytes of weights a second, beside what a plain sum over as
// many numbers takes. Run after `npm run build`: node tests/bench/products.mjs
import * as tf from "@tensorflow/tfjs-core";
import { dim, tensor } from "../../dist/compiler/ir/shape.js";
import { products } from "../../dist/runtime/engines/tfjs/products.js";
import { startTfjsEngine } from "../../dist/runtime/index.js";

/** [k, n]: heads of large vocabularies, and projections within a layer. */
const SHAPES = [
  [2048, 151936],
  [512, 50000],
  [2048, 512],
  [512, 2048],
];
const ROWS = [1, 2, 4, 8, 64];
const ROUNDS = 5;
const [BYTES, FLOPS] = [2e9, 2e10];

/** The least seconds of a run. */
function seconds(run, times) {
  run();
  const taken = Array.from({ length: ROUNDS }, () => {
    const start = performance.now();
    for (let i = 0; i < times; i++) run();
    return (performance.now() - start) / 1000 / times;
  });
  return Math.min(...taken);
}

/** Reads doubles, so that not adding but memory is what takes time. */
function sum(numbers) {
  let [a, b, c, d] = [0, 0, 0, 0];
  for (let i = 0; i + 3 < numbers.length; i += 4) {
    a += numbers[i];
    b += numbers[i + 1];
    c += numbers[i + 2];
    d += numbers[i + 3];
  }
  return a + b + c + d;
}

await startTfjsEngine();
for (const [k, n] of SHAPES) {
  const bytes = 4 * k * n;
  const plain = new Float64Array((k * n) / 2);
  const read = bytes / seconds(() => sum(plain), Math.ceil(BYTES / bytes / 5)) / 1e9;
  console.log(`k=${k} n=${n}: plain sum ${read.toFixed(1)} GB/s`);
  const right = tf.tensor1d(Float32Array.from({ length: k * n }, (_, i) => ((i * 7919) % 1001) / 500 - 1));
  for (const m of ROWS) {
    const left = tf.tensor1d(Float32Array.from({ length: m * k }, (_, i) => Math.sin(i)));
    const type = tensor("f32", [dim("_", m * n)]);
    const times = Math.ceil(Math.min(BYTES / bytes, FLOPS / (2 * m * k * n)) / 5);
    const rate = (row, column) => {
      const product = {
        m,
        k,
        n,
        a: { offset: 0, row: k, column: 1 },
        b: { offset: 0, row, column },
        c: { offset: 0, row: n },
      };
      const taken = seconds(() => products(left, right, type, [product]).dispose(), times);
      return `${(bytes / taken / 1e9).toFixed(1).padStart(5)} GB/s ${((2 * m * k * n) / taken / 1e9).toFixed(1).padStart(5)} GFLOP/s`;
    };
    console.log(`  m=${String(m).padEnd(3)} rows of n ${rate(n, 1)}   columns of k ${rate(1, k)}`);
    left.dispose();
  }
  right.dispose();
}
