/**
 * Builds the pushed options that make a client show the banner.
 *
 * OpenVPN GUI for Windows shows `echo msg…` in a window: `msg-n` appends text, `msg-window` displays it under a title.
 * It decodes percent escapes, which carry what a pushed option cannot (commas, line breaks, quotes). The plain
 * `openvpn` program hands echo to its management interface and prints nothing; OpenVPN Connect and Tunnelblick ignore
 * it. How AWS's own client is told its banner is not public.
 */
export function bannerOptions(text: string): readonly string[] {
  const options: string[] = [];
  let line = '';
  for (const character of text.replaceAll(/\r\n?|\n/g, '\r\n')) {
    const escaped = escape(character);
    if (line.length + escaped.length > LINE_LIMIT) {
      options.push(`echo msg-n ${line}`);
      line = '';
    }
    line += escaped;
  }
  if (line !== '') options.push(`echo msg-n ${line}`);
  return options.length === 0 ? [] : [...options, 'echo msg-window Welcome'];
}

/** Characters that need no escape in a pushed option; a code point is never split over two options. */
function escape(character: string): string {
  if (/^[A-Za-z0-9_.~-]$/.test(character)) return character;
  return [...new TextEncoder().encode(character)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join('');
}

/** A pushed option has at most 255 characters. */
const LINE_LIMIT = 255 - 'echo msg-n '.length;
