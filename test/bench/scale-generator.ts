import type { ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { join } from 'node:path';
import { LabError, type Namespace } from '../support/netns.ts';
import { ROOT } from '../support/source-tree.ts';
import type { GeneratorPlan, GeneratorRequest, GeneratorState, ProbeResult, TrafficResult } from './scale-protocol.ts';

/** The bench's side of one generator process. */
export class LoadGenerator {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (result: unknown) => void>();
  #lastId = 0;

  private constructor(namespace: Namespace) {
    const program = join(ROOT, 'test', 'bench', 'scale-generator-main.ts');
    this.#child = namespace.spawn(process.execPath, [program], { stdio: ['pipe', 'pipe', 'inherit'] });
    if (this.#child.stdout === null) throw new LabError('The generator has no output');
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const { id, result } = JSON.parse(line) as { id: number; result: unknown };
      this.#waiting.get(id)?.(result);
      this.#waiting.delete(id);
    });
  }

  static async start(namespace: Namespace, plan: GeneratorPlan): Promise<LoadGenerator> {
    const generator = new LoadGenerator(namespace);
    await generator.#ask({ kind: 'setup', plan });
    return generator;
  }

  /** Resolves when all logins have begun. */
  async login(from: number, to: number, perSecond: number): Promise<void> {
    await this.#ask({ kind: 'login', from, to, perSecond });
  }

  async state(sinceMs = 0, detail: 'counts' | 'times' = 'counts'): Promise<GeneratorState> {
    return (await this.#ask({ kind: 'state', sinceMs, detail })) as GeneratorState;
  }

  async traffic(request: Omit<Extract<GeneratorRequest, { kind: 'traffic' }>, 'kind'>): Promise<TrafficResult> {
    return (await this.#ask({ kind: 'traffic', ...request })) as TrafficResult;
  }

  async probe(request: Omit<Extract<GeneratorRequest, { kind: 'probe' }>, 'kind'>): Promise<ProbeResult> {
    return (await this.#ask({ kind: 'probe', ...request })) as ProbeResult;
  }

  async exit(from: number, to: number): Promise<void> {
    await this.#ask({ kind: 'exit', from, to });
  }

  /** All sockets are gone at once, and nobody said goodbye. */
  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #ask(request: GeneratorRequest): Promise<unknown> {
    const id = ++this.#lastId;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#child.stdin?.write(`${JSON.stringify({ id, request })}\n`);
    });
  }
}
