import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, rmdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const MEGABYTE = 2 ** 20;
const BALLAST = 'ballast';

/** A small file system that a test can fill. It is a tmpfs, which only root can mount, and not on every system. */
export class SmallDisk {
  private constructor(readonly folder: string) {}

  /** @returns nothing if it cannot be mounted */
  static mount(megabytes: number): SmallDisk | undefined {
    const folder = mkdtempSync(path.join(tmpdir(), 'latchkey-disk-'));
    const options = ['-t', 'tmpfs', '-o', `size=${String(megabytes)}m,mode=700`, 'tmpfs', folder];
    if (process.getuid?.() === 0 && spawnSync('mount', options).status === 0) return new SmallDisk(folder);
    rmdirSync(folder);
    return undefined;
  }

  /** Fills the disk to the last byte. */
  fill(): void {
    const ballast = path.join(this.folder, BALLAST);
    for (const size of [MEGABYTE, 4_096, 1]) {
      try {
        for (;;) writeFileSync(ballast, Buffer.alloc(size), { flag: 'a' });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
      }
    }
  }

  free(): void {
    rmSync(path.join(this.folder, BALLAST), { force: true });
  }

  unmount(): void {
    spawnSync('umount', [this.folder]);
    rmdirSync(this.folder);
  }
}
