/**
 * Every stable code that waybill shows a person or puts into an event: what it means and the way out.
 * Codes are for ever: add rows, never rename one. The HTTP status of a code stands in http/problem.ts alone.
 */
export const codes = {
  // Refusals of a delivery or of a write (`AssetsRejected.code`, `withheld[].code`).
  TEMPLATE_UNKNOWN: { meaning: 'The template or plugin is not in the catalogue.', cure: 'Use an item that `waybill publish` has registered; the catalogue is an allowlist.' },
  RUNTIME_UNKNOWN: { meaning: 'The runtime is not on the allowlist.', cure: 'Use one of the runtimes in schemas/runtimes.ts; a template slug is not a runtime.' },
  RUNTIME_MISMATCH: { meaning: 'The item does not support the runtime of the workspace.', cure: 'Choose an item that lists this runtime, or change the runtime of the workspace.' },
  NOT_ENTITLED: { meaning: 'The org has no live entitlement to the item.', cure: 'Buy or grant the item; the workspace is woken by the purchase.' },
  RELEASE_NOT_APPROVED: { meaning: 'No approved release of the item resolves.', cure: 'Approve a release with `waybill release approve` and set the channel.' },
  SELLER_NOT_ENABLED: { meaning: 'Items of third-party sellers are not switched on.', cure: 'Enable third-party sellers when the broker with proved identities runs (C16).' },
  CONFLICT: { meaning: 'A file of the user stands where an identity file has to be, or the same version arrived with other content.', cure: 'Move the file away or keep it and clear the template; publish other content under a new version.' },
  MISSING_ASSETS: { meaning: 'The workspace is not ready: its identity files are not the wanted ones.', cure: 'Ask `waybill explain <workspace>` which step is waiting.' },
  INTEGRITY_FAILED: { meaning: 'Bytes, digest, length, signature or encryption context are not those of the signed record.', cure: 'Nothing was made visible. Publish the release again under a new version and look for who altered the object.' },
  KEY_UNUSABLE: { meaning: 'The KMS key of the seller is disabled, gone, or not for us to use.', cure: 'Enable the key or correct its policy; delivery is retried by itself. A destroyed key takes all releases of its seller with it.' },
  GATE_FIELD: { meaning: 'A field that a provision-time gate reads may not come from a template.', cure: 'Remove the field from the template; the platform seeds it.' },
  TOO_LARGE: { meaning: 'A limit on bytes, files, depth, ratio or path length was passed.', cure: 'Make the artifact smaller; the message names the limit.' },
  UNSUPPORTED_VOLUME: { meaning: 'The volume lacks hard links or the deletion semantics that delivery relies on.', cure: 'Put the workspace on a local POSIX file system (ext4, xfs).' },
  STALE_VERSION: { meaning: 'The caller changed a version that is no longer the current one.', cure: 'Read the record again and repeat the change.' },
  REVOKED: { meaning: 'The purchase has been revoked; its id never becomes live again.', cure: 'A re-buy has a new purchase id.' },
  REMOVED: { meaning: 'The workspace has been removed; its id is not used again.', cure: 'Provision a workspace with a new id.' },
  // Doors.
  UNAUTHENTICATED: { meaning: 'The request does not prove who sent it.', cure: 'Send a live token of the configured issuer, and for a workspace a fresh DPoP proof by the key that the token names.' },
  FORBIDDEN: { meaning: 'The caller is known and has not the role that this takes.', cure: 'Ask for the role; the reference of the API names it for each route.' },
  RATE_LIMITED: { meaning: 'More requests came from one workspace or address than are taken in a minute.', cure: 'Wait as long as Retry-After says.' },
  // Publishing.
  PIN_UNMERGED: { meaning: 'The pin is not a full commit id that is merged into the default branch.', cure: 'Merge the commit, then publish its full 40-character id.' },
  PATH_REFUSED: { meaning: 'The artifact has a path, link or mode that may not be delivered.', cure: 'Remove or rename the entry that the message names.' },
  SECRET_FOUND: { meaning: 'The artifact contains what looks like a secret.', cure: 'Remove and rotate the secret, then publish.' },
  MANIFEST_INVALID: { meaning: 'The signed manifest, or a description file of the artifact, is not well formed.', cure: 'Correct the field that the message names.' },
  ROLLOUT_OPEN: { meaning: 'The channel is being moved in steps.', cure: 'See `waybill channel status <item>`; end the rollout with `waybill channel finish` or `waybill channel abort`, then set the channel.' },
  ROLLOUT_HALTED: { meaning: 'A rollout stopped, because too many deliveries of the new release were refused.', cure: 'See `waybill channel status <item>` for the refusals, then `waybill channel resume`, `waybill channel abort` or `waybill channel finish`.' },
  SELLER_UNKNOWN: { meaning: 'The seller is not registered.', cure: 'Run `waybill seller create <seller>` first.' },
  // Delivery on a volume or a network.
  REPORT_REFUSED: { meaning: 'The agent in a workspace reports files or folders that are not those of its plan.', cure: 'Nothing was recorded. Let the agent look again; if it repeats, the box is broken or is not ours.' },
  GRANT_BUDGET: { meaning: 'One attempt has asked for more grants than any delivery takes.', cure: 'Begin a new attempt. If that happens often, look who holds the identity of the workspace.' },
  GRANT_EXPIRED: { meaning: 'The permission for this fetch is older than 60 seconds.', cure: 'None needed: the next attempt asks for a new one.' },
  VOLUME_FULL: { meaning: 'The volume has no room for the artifact.', cure: 'Free space on the volume; delivery is retried by itself.' },
  VOLUME_UNWRITABLE: { meaning: 'The volume or one of its folders cannot be written.', cure: 'Do what the message says, else correct owner and mode of the folder; delivery is retried by itself.' },
  ADDRESS_REFUSED: { meaning: 'The address of a fetch is not on the allowlist or is private.', cure: 'Add the host to WAYBILL_FETCH_HOSTS if it is meant to be reached.' },
  SOURCE_REFUSED: { meaning: 'The release may not come from the source that the catalogue says.', cure: 'Move it back: `waybill release source <release> brokered`.' },
  UPSTREAM: { meaning: 'A service that waybill depends on answered with an error.', cure: 'None needed: retried by itself. Look at the service that the message names.' },
  UNAVAILABLE: { meaning: 'A service that waybill depends on could not be reached.', cure: 'None needed: retried by itself. Look at the service that the message names.' },
  // Poison: these bytes can never work.
  BAD_MAGIC: { meaning: 'The message does not begin with the magic byte 0 of the Confluent wire format.', cure: 'Publish through the producer libraries, or frame the message as docs/wire-format.md says.' },
  SCHEMA_UNKNOWN: { meaning: 'The registry does not know the schema id of the message.', cure: 'Register the schema of the producer, then redrive.' },
  SCHEMA_MISMATCH: { meaning: 'The schema of the message is not one that this topic carries.', cure: 'Publish the event on its own topic; schemas/topics.ts is the table.' },
  BYTES_TRUNCATED: { meaning: 'The bytes end before, or go on after, what their schema says.', cure: 'Repair the producer; the original bytes are in the dead letter.' },
  LONG_OVERFLOW: { meaning: 'A number is beyond 2^53, which JSON readers cannot hold.', cure: 'Repair the producer; versions are small positive integers.' },
  KEY_MISMATCH: { meaning: 'The key of the message is not the key of its payload.', cure: 'Publish with the key that schemas/topics.ts gives.' },
  FIELD_INVALID: { meaning: 'A field has a value that its rule refuses.', cure: 'Correct the field that the message names.' },
  EVENT_TOO_LARGE: { meaning: 'The event is larger than 256 KiB.', cure: 'Send fewer plugins or shorter texts; events carry records, not content.' },
  SCHEMA_INCOMPATIBLE: { meaning: 'A change of a schema would leave events unreadable that are in the log.', cure: 'Give a new field a default, only append to enums, and change neither names nor types.' },
  // The audit.
  AUDIT_ALTERED: { meaning: 'The audit in the database is not the one that was published.', cure: 'Keep both as they are, and find out who had rights on the tables since the first position that is named. After a restore of the database the missing rows are those that were lost; verify from behind them with --from.' },
  // Local: the stack and the command line.
  CONFIG_INVALID: { meaning: 'The configuration is incomplete or wrong.', cure: 'Set the variables that the message lists.' },
  USAGE: { meaning: 'The command line is not understood.', cure: 'See `waybill <command> --help`.' },
  NOT_FOUND: { meaning: 'Nothing of that name is known here.', cure: 'Check the id; ids are full, never prefixes.' },
  JAVA_MISSING: { meaning: 'The native stack needs Java 17 or newer and Maven.', cure: 'Install a JDK and Maven, or Docker, or name running services in the environment; `waybill doctor` says which.' },
  DOWNLOAD_FAILED: { meaning: 'A part of the local stack could not be downloaded.', cure: 'Check the network or set WAYBILL_CACHE to a folder that has the parts.' },
  PORT_TAKEN: { meaning: 'A port that was asked for is in use.', cure: 'Free the port or leave it unset; free ports are chosen by themselves.' },
  STACK_LOCKED: { meaning: 'A stack of this checkout is already running.', cure: 'Use the one that runs, or stop it first.' },
  SERVICE_FAILED: { meaning: 'A service of the local stack did not start or ended by itself.', cure: 'Read the log file that the message names.' },
  OFFSET_OUT_OF_RANGE: { meaning: 'The stored position is not in the log: the topic or the database was replaced.', cure: 'Run the command that the message names.' },
  // Runs of an operator: replay, rebuild, backfill, import.
  RUN_LEASED: { meaning: 'Another process has the run, or took it over.', cure: 'Wait for it, or stop it with `pause`; a run whose process died can be resumed after 15 s.' },
  PLAN_CHANGED: { meaning: 'What the plan was made on is no longer so.', cure: 'Make a new plan and read it.' },
  CANARY_MISSING: { meaning: 'The fleet step needs a canary that was verified for the same release.', cure: 'Run `waybill backfill apply <run> --canary <one full id>` and wait for its boot.' },
  IDENTITY_MISMATCH: { meaning: 'The identity that stands in a workspace now is not that of the template it was to be tagged with.', cure: 'Correct the mapping; if the files are the template\'s after all, record them with `waybill catalogue baseline --item`.' },
  IDENTITY_CHANGED: { meaning: 'The identity files of a workspace changed after the plan was made.', cure: 'Make a new plan; it reads them again.' },
  SET_BY_HAND: { meaning: 'Somebody set the template since; it is not touched.', cure: 'None needed.' },
  MIS_TAGGED: { meaning: 'A workspace carries a template that its identity or the plan contradicts: a security incident.', cure: 'Roll the run back, then look at what the workspace was given.' },
  // Bugs.
  FAULT: { meaning: 'Waybill has a bug.', cure: 'Report it with the log; the process stops so that a supervisor restarts it.' },
} as const satisfies Record<string, { meaning: string; cure: string }>;

export type Code = keyof typeof codes;

export const isCode = (text: string): text is Code => Object.hasOwn(codes, text);
