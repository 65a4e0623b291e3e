import { wrapped } from './screen.js';

/** Help for a screen of this width: lines that begin at its left edge are a paragraph and are broken anew; indented ones,
 *  lists and examples, stay. Pure. */
export function helpText(text: string, width: number): string {
  const lines: string[] = [];
  let paragraph: string[] = [];
  const end = () => {
    if (paragraph.length > 0) lines.push(...wrapped(paragraph.join(' '), width));
    paragraph = [];
  };
  for (const line of text.split('\n')) {
    if (/^\S/u.test(line)) {
      paragraph.push(line);
    } else {
      end();
      lines.push(line);
    }
  }
  end();
  return lines.join('\n');
}
