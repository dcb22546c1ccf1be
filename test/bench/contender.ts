import type { Lane } from './lane.ts';

/** One server of the comparison, running in a lane of its own with its clients connected. */
export interface Contender {
  readonly name: string;
  readonly lane: Lane;
  /** Roots of the server's process tree. */
  readonly pids: readonly number[];
  /** How it was started, and the buffers of its sockets: printed with the results. */
  readonly description: readonly string[];
  stop(): Promise<void>;
}

/** The socket buffers of what listens in the lane's gateway, as `ss` shows them: r and t are what was granted. */
export function socketBuffers(lane: Lane, transport: 'udp' | 'tcp', port: number): string {
  const text = lane.gateway.must('ss', '-anm', transport === 'udp' ? '-u' : '-t', 'sport', '=', `:${port}`);
  const sizes = [...text.matchAll(/skmem:\(r\d+,rb(\d+),t\d+,tb(\d+)/g)].map(([, rb, tb]) => `rcv ${rb} snd ${tb}`);
  return [...new Set(sizes)].join('; ');
}

/** The default of rmem_max and wmem_max, asked for by every contender: what a machine grants that nobody tuned. */
export const DEFAULT_BUFFER_BYTES = 212_992;
