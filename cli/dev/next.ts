import type { ExampleRepository } from './example-repository.ts';
import type { Cast } from './story.ts';

/** What to try once the story is told: command lines that work as they stand, in the same checkout, while `dev` runs. */
export function whatNext({ org, refunded, online }: Cast, { path, commit }: ExampleRepository): { command: string; meaning: string }[] {
  const release = `--repo ${path} --commit ${commit} --path templates/seo-agent --seller platform --item my-agent --kind template --version 1.0.0`;
  const lines: readonly (readonly [command: string, meaning: string])[] = [
    [`npx waybill explain ${refunded}`, 'why it is not ready'],
    ['npx waybill deliveries list', 'where all stand'],
    [`npx waybill trigger template ${online} support-agent`, 'not bought yet: refused, and the agent runs on'],
    [`npx waybill trigger purchase --org ${org} --item support-agent --purchase mine`, 'staged, restarted, delivered'],
    [`npx waybill explain ${online}`, 'what happened'],
    [`npx waybill trigger revoke --org ${org} --item support-agent --purchase mine`, 'a refund: restarted, and taken away'],
    [`npx waybill publish ${release} --runtime claude-code --access platform --approve --channel stable`, 'or from a git repository of yours'],
    [`npx waybill trigger provision --org ${org} --template my-agent`, 'every org has what is of the platform'],
    ['npx waybill token operator --role read', 'a token for the HTTP door: Authorization: Bearer …'],
    ['npx waybill --help', 'and the rest'],
  ];
  return lines.map(([command, meaning]) => ({ command, meaning }));
}
