import type { ExampleRepository } from './example-repository.ts';
import type { Cast } from './story.ts';

/** What to try once the story is told: command lines that work as they stand, in the same checkout, while `dev` runs. */
export function whatNext({ org, refunded, online, onlinePurchase }: Cast, { path, commit }: ExampleRepository): string[] {
  return [
    `npx waybill explain ${refunded}`,
    `npx waybill deliveries list`,
    `npx waybill trigger template ${online} support-agent`,
    `npx waybill trigger purchase --org ${org} --item support-agent`,
    `npx waybill explain ${online}`,
    `npx waybill trigger revoke --org ${org} --item seo-agent --purchase ${onlinePurchase} --reason refund`,
    `npx waybill publish --repo ${path} --commit ${commit} --path templates/seo-agent --seller platform --item my-agent --kind template --version 1.0.0 --runtime claude-code --approve --channel stable`,
    'npx waybill --help',
  ];
}
