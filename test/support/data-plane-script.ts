/** The environment of a gateway whose data plane runs a script in its control thread on SIGUSR2. */
export function dataPlaneScript(script: string): Readonly<Record<string, string>> {
  const program = `
    import { isMainThread } from 'node:worker_threads';
    if (isMainThread && process.argv.includes('--channel-fd')) process.on('SIGUSR2', async () => { ${script} });`;
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(program)}` };
}

/**
 * Likewise: what somebody who has taken it over could do. In the script `channel` is its end of the pipe to the parent; it
 * never ends by itself from then on.
 */
export function takenOver(script: string): Readonly<Record<string, string>> {
  return dataPlaneScript(`
    process.exit = () => undefined;
    const channel = process._getActiveHandles().find(({ _handle }) => _handle?.fd === 3);
    ${script}`);
}
