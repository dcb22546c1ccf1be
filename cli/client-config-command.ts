import type { Command } from 'commander';
import { TerminalError } from '../net/errors.ts';
import { endpointOption, stateDirOption } from './options.ts';

interface ClientConfigFlags {
  readonly stateDir: string;
  readonly endpoint?: string;
  readonly client?: string;
  readonly remote?: string;
  readonly wildcardDns?: true;
  readonly output?: string;
}

export function addClientConfigCommand(program: Command): void {
  program
    .command('client-config')
    .summary('write a file for a client')
    .description(
      'Writes a client file (.ovpn) that stock OpenVPN clients take as it is, whether or not the gateway is running.\n' +
        'It holds private keys: hand it over safely.',
    )
    .addOption(stateDirOption())
    .addOption(endpointOption('; default: the one that the gateway serves'))
    .option('--client <cn>', 'common name of the certificate to put in, made at the first time (--auto-pki)')
    .option(
      '--remote <host>',
      'name or address that clients can reach, without a port; default: the address of this machine',
    )
    .option(
      '--wildcard-dns',
      'the DNS has a record for *.HOST too: have clients look up a random name below --remote, past caches',
    )
    .option('--output <file>', 'file to write, mode 0600; default: standard output')
    .addHelpText(
      'after',
      `
Examples:
  sudo clientvpn client-config --state-dir ./.state --client laptop --output laptop.ovpn
  sudo clientvpn client-config --state-dir ./.state --endpoint corp --remote vpn.example.com > corp.ovpn`,
    )
    .action(async (flags: ClientConfigFlags) => {
      const { clientConfigText, guessRemote, missingFromFile, writeClientFile } =
        await import('../standalone/client-config.ts');
      const { stateDir, endpoint, client } = flags;
      // First, as it looks at the state folder: without one, there is no need to know the address.
      const missing = missingFromFile({ stateDir, endpoint, client });
      const remote = flags.remote ?? (await guessRemote());
      if (remote === undefined)
        throw new TerminalError('This machine has no route to guess its address from. Use --remote');
      const request = { stateDir, endpoint, client, remote, wildcardDns: flags.wildcardDns === true };
      const text = await clientConfigText(request, new Date());
      if (missing !== undefined) process.stderr.write(`${missing}\n`);
      if (flags.remote === undefined)
        process.stderr.write(
          `Clients will connect to ${remote}, this machine's address. To choose another: --remote HOST\n`,
        );
      if (flags.output === undefined) process.stdout.write(text);
      else writeClientFile(flags.output, text);
    });
}
