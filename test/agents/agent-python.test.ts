import { describeAgent } from '../support/agent-conformance.ts';

/** PYTHON: an interpreter that has what examples/agent-python/requirements.txt names. */
describeAgent('the agent in Python', ['env', 'PYTHONPATH=examples/agent-python', 'PYTHONDONTWRITEBYTECODE=1', process.env['PYTHON'] ?? 'python3', '-m', 'waybill_agent']);
