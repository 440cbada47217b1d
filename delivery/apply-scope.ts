import { digestsByPath, type Receipts } from './delivery-rows.ts';
import { nameOf, type ReleaseRef } from './forbidden.ts';
import { filesOf, type DeliveryPlan } from './resolve-template-assets.ts';
import { planApply } from './volume/plan-apply.ts';
import type { AsideRecord, DigestsByPath, Survey, WantedFile } from './volume/volume-work.ts';

/** What an attempt may touch on the volume, and by what it judges. */
export interface ApplyScope {
  readonly wanted: readonly WantedFile[];
  readonly receipts: DigestsByPath;
  /** Paths of an immediate removal: never put back, whoever changed them (C13). */
  readonly denied: readonly string[];
  /** Paths that a removal empties; none at a boot. */
  readonly removal: readonly string[];
}

/** A boot is about the whole set and everything that was delivered; a removal only about the releases that have to go. */
export function applyScope(plan: DeliveryPlan, receipts: Receipts): ApplyScope {
  const { decision } = plan;
  if (decision.act !== 'remove') {
    const denied = decision.act === 'boot' ? pathsOf(receipts, decision.denied) : [];
    // No more of each file than the file work reads: it is copied to a volume thread with every call.
    const wanted = filesOf(plan).map(({ path, sha256, size, executable }) => ({ path, sha256, size, executable }));
    return { wanted, receipts: digestsByPath(receipts.files), denied, removal: [] };
  }
  const removal = pathsOf(receipts, decision.releases);
  const concerned = new Set(removal);
  return {
    wanted: [], receipts: digestsByPath(receipts.files.filter((receipt) => concerned.has(receipt.path))),
    denied: decision.lapses.length > 0 ? removal : [], removal,
  };
}

/** The record that *permit* stores before anything moves. */
export const asideRecordOf = (plan: DeliveryPlan, scope: ApplyScope, survey: Survey, directories: readonly string[]): AsideRecord =>
  planApply({ attempt: plan.attempt, wanted: scope.wanted, receipts: scope.receipts, known: plan.known, survey, directories, denied: scope.denied });

function pathsOf(receipts: Receipts, releases: readonly ReleaseRef[]): string[] {
  const names = new Set(releases.map(nameOf));
  return [...new Set(receipts.files.filter((receipt) => names.has(nameOf(receipt))).map((receipt) => receipt.path))];
}
