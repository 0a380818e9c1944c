// Doing the tasks of a conversion: here one after another, or in threads at the same time as far as memory allows.
import { Worker } from "node:worker_threads";
import { Q3Error } from "../../../compiler/diag.ts";
import type { TensorReader } from "../tensors.ts";
import { type DonePart, doTask, type TargetPlan, type Task } from "./work.ts";
import type { Answer, Start } from "./worker.ts";

/** A task and the bytes of memory that it may take. */
export type Weighed = { readonly task: Task; readonly memory: number };

export type PoolOptions = {
  readonly source: TensorReader;
  readonly target: TargetPlan;
  /** How many threads; with fewer than two the work is done in this one. */
  readonly threads: number;
  /** Bytes that were written since the last call. */
  wrote(bytes: number): void;
  /** A part is on disk. */
  done(part: DonePart): void;
};

/** Does all tasks. At the first failure the others stop, and it is thrown. */
export async function doTasks(tasks: readonly Weighed[], options: PoolOptions): Promise<void> {
  const { source, target, threads, wrote, done } = options;
  if (threads > 1 && tasks.length > 1) return inThreads(tasks, options);
  for (const { task } of tasks) done(await doTask(source, target, task, wrote));
}

// Threads share what is left of a gibibyte beside their own heaps.
const MEMORY = 3 << 28;

function inThreads(
  tasks: readonly Weighed[],
  { source, target, threads, wrote, done }: PoolOptions,
): Promise<void> {
  const start: Start = { source: source.path, target };
  const workers: Worker[] = [];
  const waiting = [...tasks];
  const running = new Set<Worker>();
  /** What each thread holds: as much as its largest task took, for it uses memory again and gives none back. */
  const held = new Map<Worker, number>();
  return new Promise<void>((resolve, reject) => {
    const next = (worker: Worker): void => {
      const own = held.get(worker) ?? 0;
      const others = [...held.values()].reduce((sum, memory) => sum + memory, -own);
      const fits = (memory: number): boolean => others + Math.max(own, memory) <= MEMORY;
      const at = waiting.findIndex(({ memory }) => running.size === 0 || fits(memory));
      const [weighed] = at < 0 ? [] : waiting.splice(at, 1);
      if (!weighed) return;
      running.add(worker);
      held.set(worker, Math.max(own, weighed.memory));
      worker.postMessage(weighed.task);
    };
    const heard = (worker: Worker, answer: Answer): void => {
      switch (answer.kind) {
        case "wrote":
          wrote(answer.bytes);
          return;
        case "done":
          running.delete(worker);
          done(answer.done);
          for (const idle of workers) if (!running.has(idle)) next(idle);
          if (running.size === 0) resolve();
          return;
        case "failed":
          reject(new Q3Error(answer.diagnostics));
          return;
        case "bug":
          reject(answer.error);
          return;
      }
    };
    for (let i = 0; i < Math.min(threads, tasks.length); i++) {
      const worker = new Worker(new URL("./worker.js", import.meta.url), { workerData: start });
      workers.push(worker);
      worker.on("message", (answer: Answer) => {
        try {
          heard(worker, answer);
        } catch (error) {
          reject(error);
        }
      });
      worker.on("error", reject);
      next(worker);
    }
  }).finally(async () => {
    await Promise.all(workers.map((worker) => worker.terminate()));
  });
}
