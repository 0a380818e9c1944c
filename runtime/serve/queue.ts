// One engine for many requests: each gets a turn after the other, so that a long one holds up none.

import { setImmediate as breathe } from "node:timers/promises";
import { ApiError } from "./errors.ts";

/** Work in units: each `next` does one, of a fraction of a second, and may give something to send on. */
export type Work<Y, R> = Generator<Y, R, undefined>;

/** Work whose yields are other ones. When it is given up, so is what it is made of. */
export function* mapWork<Y, Z, R>(work: Work<Y, R>, map: (value: Y) => Z): Work<Z, R> {
  try {
    for (;;) {
      const { done, value } = work.next();
      if (done) return value;
      yield map(value);
    }
  } finally {
    work.return(undefined as never);
  }
}

/** Where requests wait and take turns. */
export type Queue = {
  /**
   * Does work in turns with all other, gives each thing it yields to `onEach` and resolves to what it returns. Once the
   * signal is aborted no further unit is done, and the promise is rejected with the signal's reason.
   */
  run<Y, R>(work: Work<Y, R>, onEach: (value: Y) => void, signal: AbortSignal): Promise<R>;
};

/** How many requests take turns at once, since each holds its state, and how many more may wait for that. */
export type QueueLimits = { readonly running: number; readonly waiting: number };

type Job = {
  /** Does one unit and says whether it was the last. */
  readonly step: () => boolean;
};

/** A queue that nothing is in yet. */
export function openQueue({ running, waiting }: QueueLimits): Queue {
  const turns: Job[] = [];
  const line: Job[] = [];
  let isWorking = false;

  const work = async (): Promise<void> => {
    isWorking = true;
    for (;;) {
      while (turns.length < running) {
        const next = line.shift();
        if (!next) break;
        turns.push(next);
      }
      const job = turns.shift();
      if (!job) {
        // Here and not when the promise settles: what comes in between would wait for a loop that has ended.
        isWorking = false;
        return;
      }
      if (!job.step()) turns.push(job);
      // Sockets and timers get theirs between any two units.
      await breathe();
    }
  };

  return {
    run<Y, R>(items: Work<Y, R>, onEach: (value: Y) => void, signal: AbortSignal): Promise<R> {
      if (line.length >= waiting)
        return Promise.reject(new ApiError(503, "too many requests are waiting; try again later"));
      return new Promise<R>((resolve, reject) => {
        const step = (): boolean => {
          try {
            if (signal.aborted) {
              items.return(undefined as never);
              reject(signal.reason);
              return true;
            }
            const { done, value } = items.next();
            if (done) resolve(value);
            else onEach(value);
            return done === true;
          } catch (error) {
            reject(error);
            return true;
          }
        };
        line.push({ step });
        if (!isWorking) void work();
      });
    },
  };
}
