// Other processes of this machine.

/** Whether a process of this id runs; one that belongs to somebody else may not be signalled, but runs. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}
