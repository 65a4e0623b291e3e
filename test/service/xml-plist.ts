/** What a property list can hold, as far as the agent's needs it. */
type PlistValue = string | number | boolean | PlistValue[] | { [key: string]: PlistValue };

const HEAD =
  /^<\?xml version="1\.0" encoding="UTF-8"\?>\n<!DOCTYPE plist PUBLIC "-\/\/Apple\/\/DTD PLIST 1\.0\/\/EN" "http:\/\/www\.apple\.com\/DTDs\/PropertyList-1\.0\.dtd">\n/u;
const ENTITIES: Readonly<Record<string, string>> = { '&amp;': '&', '&lt;': '<', '&gt;': '>' };

/** Reads an XML property list and refuses everything that is not strictly one.
 *  @throws SyntaxError */
export function readXmlPlist(xml: string): PlistValue {
  if (!HEAD.test(xml)) throw new SyntaxError('no head of a property list');
  const body = xml.replace(HEAD, '').replaceAll(/<!--(?:(?!--)[^])*-->/gu, '');
  const tokens = body.match(/<[^<>]*>|[^<>]+|[<>]/gu) ?? [];
  let at = 0;
  const space = () => {
    while (/^\s+$/u.test(tokens[at] ?? '')) at++;
  };
  const take = (wanted: string) => {
    space();
    if (tokens[at] !== wanted) throw new SyntaxError(`${wanted} expected, ${tokens[at] ?? 'the end'} found`);
    at++;
  };
  const isNext = (wanted: string) => {
    space();
    return tokens[at] === wanted;
  };
  const text = (end: string) => {
    const found = tokens[at] === end ? '' : (tokens[at++] ?? '');
    take(end);
    return unescaped(found);
  };
  const value = (): PlistValue => {
    space();
    const tag = tokens[at++];
    switch (tag) {
      case '<true/>':
        return true;
      case '<false/>':
        return false;
      case '<string>':
        return text('</string>');
      case '<integer>':
        return wholeNumber(text('</integer>'));
      case '<array>': {
        const items: PlistValue[] = [];
        while (!isNext('</array>')) items.push(value());
        take('</array>');
        return items;
      }
      case '<dict>': {
        const members: Record<string, PlistValue> = {};
        while (!isNext('</dict>')) {
          take('<key>');
          const key = text('</key>');
          if (key in members) throw new SyntaxError(`${key} stands twice`);
          members[key] = value();
        }
        take('</dict>');
        return members;
      }
      default:
        throw new SyntaxError(`${tag ?? 'the end'} is no value`);
    }
  };
  take('<plist version="1.0">');
  const found = value();
  take('</plist>');
  space();
  if (at < tokens.length) throw new SyntaxError('something after the end');
  return found;
}

function unescaped(text: string): string {
  if (/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/u.test(text)) throw new SyntaxError('a control character');
  return text.replaceAll(/&[^;]*;?/gu, (entity) => {
    const meant = ENTITIES[entity];
    if (meant === undefined) throw new SyntaxError(`the entity ${entity}`);
    return meant;
  });
}

function wholeNumber(text: string): number {
  if (!/^-?\d+$/u.test(text)) throw new SyntaxError(`the number ${text}`);
  return Number(text);
}
