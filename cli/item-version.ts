import { FieldError, parseItemId, parseVersion, type ItemId, type Version } from '../schemas/ids.ts';

/** `item@x.y.z` as a person writes it. @throws FieldError */
export function parseItemVersion(text: string): { itemId: ItemId; version: Version } {
  const [item, version, ...rest] = text.split('@');
  if (version === undefined || rest.length > 0) throw new FieldError('release', 'item@x.y.z', text);
  return { itemId: parseItemId(item, 'item'), version: parseVersion(version) };
}
