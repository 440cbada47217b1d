import Type from 'typebox';

/** Shapes that the routes of a box share; docs/guides/agent-protocol.md says what they mean. */

export const workspaceParams = Type.Object({ workspaceId: Type.String() });

export const sha256 = Type.String({ pattern: '^[0-9a-f]{64}$' });
export const attemptNumber = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });
/** Longer than any that is delivered: what is beyond the rule is refused with its own words. */
export const volumePath = Type.String({ minLength: 1, maxLength: 1_024 });
/** More files than a set may have. */
export const pathsMax = 100_000;
export const paths = Type.Array(volumePath, { maxItems: pathsMax });

export const keptFile = Type.Object({
  path: Type.Union([volumePath, Type.Null()]),
  reason: Type.Union(['edited', 'not-regular', 'directory', 'parent', 'unexpected'].map((reason) => Type.Literal(reason))),
  moved_to: Type.Union([volumePath, Type.Null()]),
}, { additionalProperties: false });

export const asideRecord = Type.Object({
  attempt: Type.Integer(),
  entries: Type.Array(Type.Object({ path: Type.String(), ours: Type.Array(Type.String()), denied: Type.Boolean() })),
  directories: Type.Array(Type.String()),
  making: Type.Array(Type.String()),
});

export const timeOf = (milliseconds: number): string => new Date(milliseconds).toISOString();
