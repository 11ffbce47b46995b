package mutation_test

import "slices"

// The rooms whose tests are asked.
const (
	workflow  = "./internal/workflow"
	memory    = "./internal/store/memory"
	dynamo    = "./internal/store/dynamo"
	vpc       = "./internal/kind/vpc"
	bucket    = "./internal/kind/bucket"
	role      = "./internal/kind/jobrole"
	instances = "./internal/kind/instancerole"
	endpoint  = "./internal/kind/vpcendpoint"
	group     = "./internal/kind/securitygroup"
	compute   = "./internal/kind/computeenvironment"
	queue     = "./internal/kind/jobqueue"
	contract  = "./tests/contract"
	// lives are those of deployments that change while they stand.
	lives      = "-run TestChanges ./tests/simulation"
	nouns      = "./internal/deploy"
	plans      = "./tests/plan"
	stacks     = "./internal/cfnresource"
	simulation = "-run TestDefaultEnvironmentComesAndGoes|TestSingleFaults ./tests/simulation"
)

func mutations() []mutation {
	return slices.Concat(recordMutations(), turnMutations(), admissionMutations(), machineMutations(), storeMutations(), kindMutations(), awsMutations(), edgeMutations(), steerMutations(), sweepMutations(), trapMutations(), planMutations(), eventMutations(), stackMutations())
}

// planMutations let plans say something else than is done.
func planMutations() []mutation {
	const file = "internal/workflow/plan.go"

	return []mutation{
		{"plan-without-removals", "an update's plan would be silent of what it takes away", file, "		case !asked(r.Ref) && ours(&r):", "		case !asked(r.Ref) && false:", plans},
		{"plan-without-versions", "a plan would not say that an environment is updated for its template", file, "		return ok && k.About().Versioned", "		return ok && k.About().Versioned && false", plans},
		{"plan-forgets-the-kept", "a plan would call kept data new", file, `	case x.items[i].Existing != "", known != nil && known.Kept:`, `	case x.items[i].Existing != "":`, plans},
		{"plan-looks-at-a-taken-name", "a plan would find what the create does not come to", file, "			x.findings = []deploy.Finding{taken(h)}", "			x.findings = append(x.findings, taken(h), taken(h))", "./internal/httpapi"},
		{"foreign-role-not-looked-for", "a create would begin and fail at a role that is somebody else's", "internal/kind/iamrole/planned.go", "	if err != nil || role == nil || c.Owns(iamtag.Map(role.Tags)) {", "	if true || err != nil || role == nil || c.Owns(iamtag.Map(role.Tags)) {", plans},
		{"foreign-bucket-not-looked-for", "a create would begin and fail at a bucket that is somebody else's", "internal/kind/bucket/vacant.go", "	if tags != nil && !c.Owns(tags) {", "	if false && !c.Owns(tags) {", plans},
		{"sum-of-the-unknown", "a sum would leave out what has no price", "internal/deploy/plan.go", "			if v == nil {\n				return nil", "			if v == nil {\n				continue", plans},
	}
}

// stackMutations let stacks do what is not theirs, or wait for ever.
func stackMutations() []mutation {
	const (
		admit    = "internal/cfnresource/admit.go"
		resource = "internal/cfnresource/cfnresource.go"
		sender   = "internal/cfnresource/responder.go"
	)

	return []mutation{
		{"stack-of-any-account", "a forged StackId would act for a tenant", resource, "g.Kind == deploy.GrantStackAccount && g.Value == stack[4]", "g.Kind == deploy.GrantStackAccount", stacks},
		{"stack-deletes-anothers", "a create that was refused would delete what was in its way", admit, "if record == nil || record.Deployment.Owner != actor(c) {", "if record == nil {", stacks},
		{"stack-changes-anothers", "a stack would take over what somebody else made", admit, "	case header.Owner != actor(c):", "	case false:", stacks},
		{"stack-twice", "a repeated request would be admitted again", admit, "TTL: req.TTL, Verify: req.Verify, Claim: claim(c),", "TTL: req.TTL, Verify: req.Verify,", stacks},
		{"stack-deletes-twice", "a repeated delete would take what was made since", admit, "Data: req.Data, Claim: claim(c)}", "Data: req.Data}", stacks},
		{"stack-waits-for-ever", "a stack would hear nothing until its own time is over", resource, "	if !op.State.Done() && !over {", "	if !op.State.Done() {", stacks},
		{"stack-replacement-left", "a replacement that failed would be nobody's", admit, "	if c.RequestType == requestUpdate && op.Kind == deploy.Create &&", "	if false && op.Kind == deploy.Create &&", stacks},
		{"stack-id-changes", "an update that failed would become a replacement", admit, `	if c.RequestType == requestUpdate && req.Was != "" {`, `	if false {`, stacks},
		{"stack-answer-lost", "an answer that did not arrive would never be sent again", resource, "	if err != nil && r.Clock.Now().Before(c.Deadline.Add(late)) {", "	if false {", stacks},
		{"stack-answers-anybody", "whoever sends an event could have this service call where he likes", sender, "!slices.Contains(r.hosts, u.Host)", `!strings.Contains(u.Host, "amazonaws.com") && !slices.Contains(r.hosts, u.Host)`, stacks},
	}
}

// recordMutations take away what the worker rests on.
func recordMutations() []mutation {
	const file = "internal/workflow/worker.go"

	return []mutation{
		{
			"intent-not-written", "a crash right after the first call would leave an orphan that no rollback knows", file, `
	if err := w.Store.Save(ctx, in.Key(), stamp(r, now)); err != nil {
		return storeSignal(err)
	}

	acting, cancel`, `
	acting, cancel`, workflow,
		},
		{"busy-not-written", "two invocations would act on one resource at once", file, "	r.BusyUntil = deadline\n", "", workflow},
		{"busy-ignored", "two invocations would act on one resource at once", file, "	if now.Before(r.BusyUntil) {", "	if false && now.Before(r.BusyUntil) {", workflow},
		{
			"worker-ignores-epoch", "a superseded execution would go on creating beside a rollback", file,
			"h.Operation != in.Operation || h.Epoch != in.Epoch || r.Operation", "h.Operation != in.Operation || r.Operation", workflow,
		},
		{
			"worker-ignores-stamp", "header and resources are read one after the other; the stamp on the resource is the fence", file,
			" || r.Operation != in.Operation || r.Epoch != in.Epoch {", " {", workflow,
		},
		{"needs-ignored", "an environment would be made before its role", file, `	if waits != "" {`, "	if false {", workflow},
		{"deadline-never-checked", "an operation would wait for ever", file, "	if now.Sub(since) <= limit {", "	if true {", workflow},
		{
			"progress-forgotten", "the purge of a big bucket would fail halfway", file, "	if step.ProgressTime.After(since) {", "	if false {", workflow,
		},
		{"permanent-retried", "a refusal for good would be tried until the deadline", file, "	if !again {", "	if !again && false {", workflow},
		{
			"outcome-needs-callers-time", "what an invocation did in its last second would be forgotten", file,
			"context.WithTimeout(context.WithoutCancel(ctx), reserve-time.Second)", "context.WithTimeout(ctx, reserve-time.Second)", workflow,
		},
		{"existing-changed", "what the owner named would be changed", file, `	case c.Existing != "":
		return existing(ctx, k, c)`, "	case false:\n		return existing(ctx, k, c)", workflow},
		{
			"existing-removed", "what the owner named would be removed by a rollback", file,
			`	case item.Existing != "":
		return deploy.Existing`, "	case false:\n		return deploy.Existing", workflow,
		},
		{"shared-removed", "one deployment's rollback would take the account's service-linked role", file, "	case about.Shared:", "	case false:", workflow},
		{
			"kept-forgotten", "a bucket that holds data would leave the record with its deployment", file, "deploy.StepGone, result.Kept", "deploy.StepGone, false",
			workflow,
		},
		{
			"remove-after-ignored", "network and roles would go while queues still use them", "internal/workflow/graphs.go",
			" || slices.Contains(about.RemoveAfter, before.Ref.Kind())", "", workflow,
		},
		{
			"roles-before-environments", "an environment whose role went first is stuck for ever", "internal/workflow/graphs.go",
			"slices.Contains(before.Needs, r.Ref) || ", "", workflow,
		},
		{
			"job-role-before-environments", "the role would go while Batch still runs jobs as it; seen by whole lives on fakes of AWS", "internal/kind/jobrole/jobrole.go",
			`		RemoveAfter: []string{"job-queue", "compute-environment"},
`, "", simulation,
		},
		{
			"bucket-before-queues", "jobs would write to a bucket that is being deleted", "internal/kind/bucket/bucket.go",
			`		RemoveAfter: []string{"job-queue", "compute-environment"},
`, "", contract,
		},
		{
			"bucket-before-queues-in-the-machine", "the same, where the state machine is compiled", "internal/workflow/graphs.go", "		after := slices.Clone(a.RemoveAfter)", "		after := slices.Clone(a.RemoveAfter[:0])", contract,
		},
	}
}

// turnMutations spoil Begin, Settle and Close.
func turnMutations() []mutation {
	const file = "internal/workflow/conductor.go"

	return []mutation{
		{
			"begin-stamps-nothing", "without the stamp an older execution could go on", file,
			"		record.Resources[i].Operation, record.Resources[i].Epoch = in.Operation, in.Epoch\n", "", workflow,
		},
		{
			"begin-forgets-steps", "an execution that the watchdog started would do everything again", file,
			"		if r.Operation == op.ID {\n			continue\n		}\n\n		r.Replaces", "		r.Replaces", workflow,
		},
		{
			"no-outcome-is-ready", "a create that died halfway would be called a success", file,
			"r.Ensure != nil && r.Ensure.State != deploy.StepReady", "r.Ensure != nil && r.Ensure.State == deploy.StepFailed", workflow,
		},
		{
			"settle-races", "a rollback would race the create of an invocation in flight", file,
			"		if now.Before(r.BusyUntil) {\n			return Plan{}, signal(", "		if false {\n			return Plan{}, signal(", workflow,
		},
		{
			"close-races", "the operation would end while somebody still removes", file,
			"		if now.Before(r.BusyUntil) {\n			return signal(", "		if false {\n			return signal(", workflow,
		},
		{
			"settle-keeps-epoch", "late steps of the create would go on during its rollback", file,
			"	header.Epoch++\n	header.CheckTime, header.UpdateTime = now.Add(quiet), now", "	header.CheckTime, header.UpdateTime = now.Add(quiet), now", workflow,
		},
		{
			"settle-stamps-nothing", "late steps of the create would go on during its rollback", file,
			"		record.Resources[i].Operation, record.Resources[i].Epoch = in.Operation, in.Epoch+1\n", "		record.Resources[i].Operation = in.Operation\n", workflow,
		},
		{
			"settle-forgets-its-turn", "a Settle whose answer was lost would end the execution, and nobody would roll back", file,
			"op.TurnedAt == in.Epoch && header.Epoch == in.Epoch+1 {", "false {", workflow,
		},
		{
			"rollback-of-others", "a rollback would remove what another operation made", file,
			"deploy.Repair && r.MadeBy == op.ID && ours(r)", "deploy.Repair && ours(r)", workflow,
		},
		{
			"removal-of-existing", "a delete or a rollback would remove what the owner brought", file,
			"r != nil && (r.Origin == deploy.Made || r.Origin == deploy.Reused) && (", "r != nil && (", workflow,
		},
		{"update-forgets-what-it-replaces", "the old environment would never be removed", file, "			kept = append(kept, old)\n", "", lives},
		{
			"update-leaves-what-nobody-asks-for", "what the spec names no longer would stay for ever", file,
			"		if !asked(r.Ref) && r.Operation", "		if asked(\"\") && r.Operation", lives,
		},
		{
			"update-rolls-back-to-itself", "a failed update would not return to the spec before", file,
			"	header.Spec, header.Labels = op.Before.Spec, op.Before.Labels\n", "	header.Labels = op.Before.Labels\n", lives,
		},
		{
			"update-rollback-loses-the-old", "a failed replacement would cost the environment that stood", file,
			"		if old := record.Find(r.Replaces); old != nil {", "		if old := record.Find(r.Replaces); false {", lives,
		},
		{
			"plan-knows-its-own-chains-only", "an execution that began before an upgrade would fail for ever", "internal/workflow/graphs.go",
			"		p.Want[variable(k.About().Name)], p.Nap[variable(k.About().Name)] = len(wanted) > 0, false\n", "		_ = k\n", "-run TestOldDefinitions ./tests/simulation",
		},
		{
			"update-rollback-forgets-dependents", "an environment would not be told the version that its launch template went back to", file,
			"	c.spread(record, items)\n", "", "-run TestSingleFaults/update-cancel ./tests/simulation",
		},
		{
			"replaced-takes-the-new-along", "the removal of the replaced environment would take its successor", "internal/kind/computeenvironment/computeenvironment.go",
			"		if c.Past != \"\" && n != environmentName(c) {", "		if false {", lives,
		},
		{
			"repair-calls-failure-success", "what could not be brought back would be called repaired", file,
			"	residue = residue || c.Graphs.amiss(record)\n", "", lives,
		},
		{
			"record-closes-removals", "a broken chain of an update's way back would close removals that were never begun", file,
			"	if c.next(record, in.Epoch).Turn == TurnEnsure {", "	if false {", workflow,
		},
		{
			"limits-forgotten", "a tenant could take as much as it likes", "internal/workflow/control.go",
			"	count(change, counting(header), limit)\n", "	count(change, counting(header), deploy.Usage{})\n", workflow,
		},
		{
			"queue-ignores-room", "everything that is queued would start at once", "internal/workflow/queue.go",
			"	count(change, counts, deploy.Usage{Operations: q.Limits.Of(key.Tenant).Operations})\n", "	count(change, counts, deploy.Usage{})\n", workflow,
		},
		{
			"expiry-again-and-again", "a deployment whose removal got stuck would be deleted each minute", "internal/workflow/expiry.go",
			" || d.Phase == deploy.PhaseNeedsAttention && last.Kind == deploy.Delete {", " {", workflow,
		},
		{
			"cancel-of-the-unbegun", "the cancel of an update that never began would touch everything", "internal/workflow/conductor.go",
			"again := r.Operation == op.ID && r.Ensure", "again := r.Ensure", workflow,
		},
		{
			"cancel-mends", "a repair that was stopped would pass for done", "internal/workflow/conductor.go",
			"op.Kind == deploy.Repair && op.Was == deploy.PhaseNeedsAttention:", "op.Kind == deploy.Repair && false:", lives,
		},
		{
			"queue-overtaken", "who comes at the right moment would start before those who wait", "internal/workflow/control.go",
			"		header.Queued = len(waiting) > 0\n", "		_ = waiting\n", workflow,
		},
		{
			"queue-same-first", "the same tenants would come first each minute", "internal/workflow/queue.go",
			"tenants[(first+i)%len(tenants)]", "tenants[(first*0+i)%len(tenants)]", workflow,
		},
		{
			"expiry-stays", "an update that was rolled back would still delete the deployment in an hour", "internal/workflow/conductor.go",
			"if set := op.Before.Replaced; !set.IsZero() && header.ExpireTime.Equal(set) {", "if false {", workflow,
		},
		{
			"expiry-deletes-early", "a deployment would be deleted at its first warning", "internal/workflow/expiry.go",
			"	if !header.ExpireTime.After(now) {", "	if true {", workflow,
		},
		{
			"expiry-on-a-stale-look", "a deployment that was extended a moment ago would be deleted", "internal/workflow/expiry.go",
			"	if header.Unfinished || due.IsZero() || due.After(now) {", "	if header.Unfinished || due.IsZero() {", workflow,
		},
		{
			"update-of-what-holds-data", "an update would put another bucket in the place of the one with the data", "internal/workflow/update.go",
			"		return !about.ForLife\n", "		return true\n", workflow,
		},
		{
			"close-forgets-residue", "what could not be removed would be forgotten, and cost money for ever", file, "			residue = true\n", "", workflow,
		},
		{
			"residue-dropped", "a resumed operation would not know what it has done, and its version would fall", file,
			"	if r.Kept || header.Phase == deploy.PhaseNeedsAttention {", "	if r.Kept {", workflow,
		},
		{"watchdog-never-restarts", "an execution that died would leave its deployment half-made for ever", "internal/workflow/watchdog.go", "	if alive {", "	if alive || known {", workflow},
		{
			"watchdog-keeps-epoch", "the name of the old execution is used up, and whoever acts for it is not fenced off", "internal/workflow/watchdog.go",
			"		header.Epoch++\n		e.Epoch = header.Epoch", "		e.Epoch = header.Epoch", workflow,
		},
		{
			"watchdog-impatient", "an invocation at work would be taken for dead", "internal/workflow/watchdog.go",
			"BusyUntil; t.After(last) {", "BusyUntil; false && t.After(last) {", workflow,
		},
		{"watchdog-immortal", "an operation that cannot succeed would be started for ever", "internal/workflow/watchdog.go", "	if known && header.Epoch-record.Operation.SteeredAt >= lives {", "	if false {", workflow},
		{"overdue-untried", "minutes in which nobody worked would count against a step", "internal/workflow/worker.go", " || step.Attempts < fewest {", " {", workflow},
		{"watchdog-remembers-too-much", "what somebody resumed would be given up at its first lost execution", "internal/workflow/watchdog.go", "header.Epoch-record.Operation.SteeredAt >= lives", "header.Epoch >= lives", workflow},
		{
			"watchdog-stops-at-trouble", "one broken record would keep the watchdog from all others", "internal/workflow/watchdog.go",
			`					failed = append(failed, fmt.Errorf("look after %s: %w", key.Name, err))
					mu.Unlock()
`, `					failed = append(failed, fmt.Errorf("look after %s: %w", key.Name, err))
					mu.Unlock()

					return
`, workflow,
		},
	}
}

// admissionMutations spoil what the API stands on.
func admissionMutations() []mutation {
	const file = "internal/workflow/control.go"

	return []mutation{
		{"claim-not-released", "a refused request would hold its key for a minute", file, "	if err != nil && !unsure(err) {", "	if err != nil && false {", workflow},
		{"claim-released-too-early", "a request whose write happened could be admitted twice", file, "	if err != nil && !unsure(err) {", "	if err != nil {", workflow},
		{"findings-ignored", "a create that cannot succeed would be begun", "internal/workflow/plan.go", "	if wrong := x.wrong(); len(wrong) > 0 {", "	if wrong := x.wrong(); false && len(wrong) > 0 {", workflow},
		{"name-taken-ignored", "a create would write over a living deployment", file, "	if !record.Deployment.Phase.Vacant() {", "	if false {", workflow},
		{"delete-again", "a second delete would be another operation", file, "	if header.Unfinished && old.Kind == deploy.Delete {", "	if false {", workflow},
		{"superseded-not-ended", "the create that a delete took over would seem to run for ever", file, "		ends = &old\n", "		_ = old\n", workflow},
		{
			"start-forgotten", "the watchdog would have to start every operation, half a minute late", file,
			"	if err := c.Starter.Start(ctx, execution(c.Place, header)); err != nil {\n", "	if err := error(nil); err != nil {\n", workflow,
		},
	}
}

// machineMutations spoil the compiled state machine.
func machineMutations() []mutation {
	const file = "internal/workflow/compile.go"

	return []mutation{
		{
			"branch-fails", "AWS does not stop the functions of a failed Parallel: a rollback would race them", file,
			`		{ErrorEquals: []string{"States.ALL"}, ResultPath: "$.fault", Next: write},
	}`, "	}", workflow,
		},
		{"removal-fills-history", "45 minutes of a lingering interface would not fit the history", file, "		ready.BackoffRate, ready.MaxDelaySeconds = 1.5, 60\n", "", workflow},
		{"task-ends-first", "a task would be retried while its function still works", file, "const taskSeconds = 90", "const taskSeconds = 30", workflow},
		{"service-exceptions-fail", "what the Lambda service throws would fail a step", file, `"Lambda.Unknown", `, "", workflow},
		{"history-unscrubbed", "the history would keep whatever AWS wrote", "internal/workflow/signal.go", "Message: deploy.Scrub(message)}", "Message: message + deploy.Scrub(\"\")}", workflow},
	}
}

// storeMutations take the conditions off the writes.
func storeMutations() []mutation {
	return []mutation{
		{
			"memory-save-unconditional", "of two writers both would win", "internal/store/memory/memory.go", "r == nil || r.version(x.Ref) != x.Version {", "r == nil {", memory,
		},
		{
			"memory-commit-unconditional", "of two writers both would win", "internal/store/memory/memory.go", "d != nil && r.header.Version != d.Version {", "d != nil && false {", memory,
		},
		{"memory-fingerprint-ignored", "another request would get the answer of the first", "internal/store/memory/memory.go", "	case found.claim.Fingerprint != c.Fingerprint:", "		case false:", memory},
		{
			"dynamo-unconditional", "of two writers both would win", "internal/store/dynamo/item.go",
			`aws.String("#version = :read"), map[string]string{"#version": "version"}, item{":read": number(read)}}`,
			`aws.String("#version >= :read OR #version < :read"), map[string]string{"#version": "version"}, item{":read": number(read)}}`, dynamo,
		},
		{
			"dynamo-drop-unconditional", "a resource that somebody has just written would vanish from the record", "internal/store/dynamo/transaction.go",
			"		ConditionExpression: c.expression, ExpressionAttributeNames: c.names, ExpressionAttributeValues: c.values,\n	}})", "	}})", dynamo,
		},
		{"memory-limit-ignored", "a tenant would have more than it may", "internal/store/memory/tenants.go", "by > 0 && limit > 0 && have+by > limit }", "false }", memory},
		{"dynamo-limit-ignored", "a tenant would have more than it may", "internal/store/dynamo/tenants.go", "counter.by < 0 || counter.limit <= 0 {", "true {", dynamo},
		{
			"dynamo-limit-above-nothing", "the first deployment of a tenant could be of any size", "internal/store/dynamo/tenants.go", "		if room >= 0 {", "		if true {", dynamo,
		},
		{
			"dynamo-limit-hides-race", "who lost a race would be told of a limit that may not matter", "internal/store/dynamo/transaction.go",
			"(i < last || t.items[i].Update == nil) {", "(i <= last && len(failed) == 1) {", dynamo,
		},
		{
			"dynamo-conflict-is-final", "of a tenant's requests at once most would fail", "internal/store/dynamo/transaction.go", "		if !met || time.Now().After(until) {", "		if true || time.Now().After(until) {", dynamo,
		},
		{
			"dynamo-audit-written-over", "an audit trail would say what the last writer wants", "internal/store/dynamo/trail.go", "	old, err := s.put(ctx, it, unchanged(0))", "	old, err := s.put(ctx, it, condition{})", dynamo,
		},
		{"dynamo-fingerprint-ignored", "another request would get the answer of the first", "internal/store/dynamo/claim.go", "	case found.Fingerprint != c.Fingerprint:", "	case false:", dynamo},
		{
			"dynamo-own-commit-is-stale", "a commit whose answer was lost would be taken for somebody else's", "internal/store/dynamo/transaction.go",
			`			if str(reason.Item["w"]) == t.mark {`, "			if false {", dynamo,
		},
		{
			"dynamo-own-save-is-stale", "a save whose answer was lost would be taken for somebody else's", "internal/store/dynamo/dynamo.go",
			`	case str(failed.Item["w"]) == str(it["w"]):`, "	case false:", dynamo,
		},
		{"dynamo-forgets-pages", "a record of more than one page would lose resources", "internal/store/dynamo/list.go", "			if len(out.LastEvaluatedKey) == 0 {", "			if true {", dynamo},
		{
			"dynamo-torn-read", "a record read in the middle of a commit would belong to two operations", "internal/store/dynamo/dynamo.go",
			"		if record.Deployment.Operation == record.Operation.ID {", "		if true {", dynamo,
		},
		{"dynamo-inconsistent", "a decision would rest on what was true a second ago", "internal/store/dynamo/dynamo.go", "		TableName: &s.table, ConsistentRead: aws.Bool(true),\n", "		TableName: &s.table,\n", dynamo},
	}
}

// kindMutations spoil what kinds share, and the kinds.
func kindMutations() []mutation {
	const (
		s3 = "internal/kind/bucket/bucket.go"
		ce = "internal/kind/computeenvironment/computeenvironment.go"
	)

	return []mutation{
		{"foreign-adopted", "a stranger's thing of our name would be taken for ours, changed and deleted", "internal/deploy/owner.go", "		if tags[k] != v {", "		if tags[k] != v && false {", bucket},
		{"foreign-adopted-role", "a stranger's role would be taken for ours, changed and deleted", "internal/deploy/owner.go", "		if tags[k] != v {", "		if tags[k] != v && false {", role},
		{
			"tenants-collide", "the same name of two tenants would be one bucket", "internal/deploy/owner.go",
			"digest(8, o.Installation, o.Account, o.Region, o.Tenant, o.Name)", "digest(8, o.Installation, o.Account, o.Region, o.Name)", nouns,
		},
		{
			"partition-literal", "nothing would work in China and GovCloud", "internal/deploy/owner.go",
			`fmt.Sprintf("arn:%s:%s:%s:%s:%s", o.Partition,`, `fmt.Sprintf("arn:%s:%s:%s:%s:%s", "aws",`, nouns,
		},
		{
			"token-random", "a create whose answer was lost would make a second thing", "internal/deploy/owner.go",
			"	return digest(32, o.Installation,", "	return digest(32, fmt.Sprintf(\"%p\", new([64]string)), o.Installation,", nouns,
		},
		{
			"token-of-last-operation", "AWS remembers a token longer than the thing: a create after a delete would get the dead one", "internal/deploy/owner.go",
			"o.Name, string(ref), operation)", "o.Name, string(ref))", nouns,
		},
		{
			"absent-at-once", "a create whose answer was lost would be sent again before it can be seen", "internal/kind/once.go",
			"	return err == nil && c.Now().Sub(sent) < settle", "	return false && err == nil && c.Now().Sub(sent) < settle", vpc,
		},
		{
			"create-not-noted", "a process that died after a create would look once and create again", "internal/kind/once.go", `	if err := c.Save(ctx); err != nil {
		return "", err
	}
`, "", vpc,
		},
		{"refusal-in-doubt", "a create that AWS refused would be waited for", "internal/kind/once.go", "			c.Removed()\n", "", "./internal/kind/..."},
		{
			"sdk-repeats-create", "the SDK would make a second VPC when an answer is lost", "internal/kind/vpc/vpc.go", "		}, ec2tag.OneAttempt)", "		})", vpc,
		},
		{
			"sdk-repeats-create-subnet", "the SDK would make a second subnet when an answer is lost", "internal/kind/subnet/subnet.go", "		}, ec2tag.OneAttempt)", "		})",
			"./internal/kind/subnet",
		},
		{
			"sdk-repeats-create-gateway", "the SDK would make a second gateway when an answer is lost", "internal/kind/internetgateway/internetgateway.go",
			"		}, ec2tag.OneAttempt)", "		})", "./internal/kind/internetgateway",
		},
		{
			"quota-page-forgotten", "a create would be let in where the account is full", "internal/kind/vpc/vpc.go", "	for pages.HasMorePages() {", "	if pages.HasMorePages() {", vpc,
		},
		{"delete-error-swallowed", "a VPC that AWS refuses to delete would seem to be on its way", "internal/kind/vpc/vpc.go", `	if err = awserr.IgnoreGone(err); err != nil {
		return kind.Result{ID: id(found)}, fmt.Errorf("delete VPC %s: %w", id(found), err)
	}
`, "	_ = err\n", vpc},
		{
			"delete-error-swallowed-bucket", "a bucket that AWS refuses to delete would seem to be on its way", "internal/kind/bucket/purge.go",
			`		return result, awserr.IgnoreGone(fmt.Errorf("delete bucket %s: %w", bucket, err))`, "		return result, nil", bucket,
		},
		{
			"delete-error-swallowed-role", "a role that AWS refuses to delete would seem to be on its way", "internal/kind/iamrole/iamrole.go",
			`		return result, fmt.Errorf("delete role %s: %w", name, err)`, "		return result, nil", role,
		},
		{
			"page-forgotten", "a role with many policies could never be deleted", "internal/kind/iamrole/iamrole.go",
			"	pages := iam.NewListRolePoliciesPaginator(api, &iam.ListRolePoliciesInput{RoleName: aws.String(name)})\n	for pages.HasMorePages() {",
			"	pages := iam.NewListRolePoliciesPaginator(api, &iam.ListRolePoliciesInput{RoleName: aws.String(name)})\n	if pages.HasMorePages() {", role + " " + instances,
		},
		{
			"role-without-boundary", "a role would stand without its boundary for a moment, and for ever after a crash then", "internal/kind/iamrole/iamrole.go",
			"		PermissionsBoundary: aws.String(c.Boundary), Tags: iamtag.List(c.Tags()),", "		Tags: iamtag.List(c.Tags()),", role,
		},
		{"kept-rolled-back", "a rollback would delete data that an earlier delete kept", s3, "	case c.Data == deploy.IfEmpty && c.Origin != deploy.Reused:", "	case c.Data == deploy.IfEmpty:", bucket},
		{"kept-not-recorded", "a crash after the mark went would let the rollback delete kept data", s3, `		c.Origin = deploy.Reused

		if err := c.Save(ctx); err != nil {
			return kind.Result{}, err
		}
`, "		c.Origin = deploy.Reused\n", bucket},
		{"keep-purges", "a delete that was to keep the data would throw it away", s3, "	case c.Data == deploy.Purge:", "	case c.Data != deploy.IfEmpty:", bucket},
		{"object-errors-ignored", "objects under a legal hold would seem to be deleted", "internal/kind/bucket/purge.go", "	if first != nil {\n		return len(ids)", "	if false {\n		return len(ids)", bucket},
		{"bucket-of-others", "a bucket of another account would be taken for ours", s3, "ExpectedBucketOwner: aws.String(c.Owner.Account)})\n	if err == nil {", "})\n	if err == nil {", bucket},
		{"closed-is-ours", "a bucket that we may not look at would be taken for ours", s3, "		return place{state: closed, err: err}, nil", "		return place{state: here}, nil", bucket},
		{"location-named", "no bucket could be made in us-east-1", s3, `	if c.Owner.Region != "us-east-1" {`, "	if true {", bucket},
		{"location-forgotten", "no bucket could be made anywhere else", s3, `	if c.Owner.Region != "us-east-1" {`, "	if false {", bucket},
		{"owners-tags-wiped", "tags that the owner put on the bucket would be wiped", "internal/kind/bucket/settings.go", "maps.Clone(have)\n\n	for k, v := range c.Tags() {", "map[string]string{}\n\n	for k, v := range c.Tags() {", bucket},
		{
			"policy-order-is-drift", "AWS's own formatting of a policy would be reported and rewritten for ever", "internal/kind/policydoc/policydoc.go",
			`	return err == nil && x == y
}

// Merge`, `	return err == nil && x == y && a == b
}

// Merge`, "./internal/kind/policydoc " + role,
		},
		{
			"endpoint-refusal-ignored", "an endpoint that AWS did not delete would seem to be on its way", "internal/kind/vpcendpoint/vpcendpoint.go",
			"		err = unsuccessful(out.Unsuccessful)", "		_ = out", endpoint,
		},
		{
			"first-answer-for-ever", "EC2 answers a repeated create as it did the first, also when the endpoint is gone", "internal/kind/vpcendpoint/vpcendpoint.go",
			"		if first {", "		if true || first {", endpoint,
		},
		{
			"unseen-is-set-vpc", "a VPC that does not take its DNS settings yet would be called ready without them", "internal/kind/vpc/vpc.go",
			"		return err == nil, awserr.IgnoreGone(err)", "		return awserr.IgnoreGone(err) == nil, awserr.IgnoreGone(err)", vpc,
		},
		{
			"unseen-is-set-subnet", "a subnet that does not take its settings yet would be called ready without them", "internal/kind/subnet/subnet.go",
			"		return err == nil, nil", "		return true, nil", "./internal/kind/subnet",
		},
		{
			"associating-is-associated", "instances would start in a subnet without its way out", "internal/kind/subnet/subnet.go",
			"	return state == nil || state.State ==", "	return true || state.State ==", "./internal/kind/subnet",
		},
		{
			"unseen-is-set-group", "a group that does not take its settings yet would be called ready without them", group[2:] + "/securitygroup.go",
			"	return err == nil, nil\n}", "	return true, nil\n}", group,
		},
		{
			"rules-not-found-are-gone", "a group that anybody may enter would be called ready", group[2:] + "/securitygroup.go",
			"		if err == nil {\n			return false, nil", "		if err == nil {\n			return true, nil", group,
		},
		{
			"unseen-is-set-route", "a route that leads elsewhere would be taken for ours because ours was refused", "internal/kind/routetable/routetable.go",
			`create default route of %s: %w", id, err)
	}

	return err == nil, nil`, `create default route of %s: %w", id, err)
	}

	return true, nil`, "./internal/kind/routetable",
		},
		{
			"unseen-is-set-bucket", "a bucket that does not take its settings yet would be called ready without them", s3,
			"		if err := change.put(ctx); err != nil {", "		if err := change.put(ctx); awserr.IgnoreGone(err) != nil {", bucket,
		},
		{
			"profile-rests-for-ever", "with our clock behind, a profile would never be looked at", "internal/kind/instanceprofile/instanceprofile.go",
			"age >= 0 && age < rest", "age < rest", "./internal/kind/instanceprofile",
		},
		{
			"group-of-others", "a stranger's group of our name would never be told of", group[2:] + "/securitygroup.go",
			"		if !c.Owns(ec2tag.Map(named.SecurityGroups[i].Tags)) {", "		if false && !c.Owns(ec2tag.Map(named.SecurityGroups[i].Tags)) {", group,
		},
		{"invalid-is-ready", "queues would be made on an environment that can never run a job", ce, `	case types.CEStatusValid:
		forget(c, memoInvalid, memoNudged)
	case types.CEStatusInvalid:
		return e.revive(ctx, c, found, result)
`, "	case types.CEStatusValid, types.CEStatusInvalid:\n", compute},
		{
			"environment-not-disabled", "Batch refuses to delete what is enabled", "internal/kind/computeenvironment/invalid.go",
			"	if d.State != types.CEStateDisabled {", "	if false {", compute,
		},
		{
			"stuck-for-ever", "an environment that can never be deleted would be waited for without a word", "internal/kind/computeenvironment/invalid.go",
			`		if c.Memo[memoDeleting] != "" && age(c, memoDeleting) >= patience && aboutRoles(reason) {`, "		if false {", compute,
		},
		{"tags-any-value", "a tag that somebody changed would be called as wanted", "internal/kind/drift.go", "		if ok && old == v {", "		if ok {", "./internal/kind"},
		{"tags-not-compared", "the owner's tags would stay those of the create", "internal/kind/vpc/vpc.go", ", ec2tag.Differ(c, found.Tags),", ",", contract},
		{
			"tags-not-mended", "the owner's tags would stay those of the create", "internal/kind/launchtemplate/launchtemplate.go",
			"	if len(kind.Differing(ec2tag.Differ(c, found.Tags))) > 0 {", "	if false {", contract,
		},
		{
			"ingress-not-compared", "somebody's way in would stay open and untold", group[2:] + "/securitygroup.go",
			"		kind.Difference{Property: propIngress, Have: incoming(found)},\n", "", group,
		},
		{
			"written-is-the-probes", "a rollback would take what somebody wrote for the probe's", "internal/kind/bucket/purge.go",
			"return aws.ToString(v.Key) != probe", "return aws.ToString(v.Key) != probe && false", bucket,
		},
		{
			"probe-of-others", "a definition that is not ours would be taken out of use", "internal/kind/probe/probe.go", "			if c.Owns(d.Tags) {", "			if true {",
			"./internal/kind/probe",
		},
		{
			"probe-goes-on", "a job would run on after its operation", "internal/kind/probe/probe.go",
			"if j.Status == types.JobStatusSucceeded || j.Status == types.JobStatusFailed {", "if true {", "./internal/kind/probe",
		},
		{"queue-not-disabled", "Batch refuses to delete what is enabled", "internal/kind/jobqueue/remove.go", "	case found.State != types.JQStateDisabled:", "	case false:", queue},
		{
			"running-jobs-only", "jobs that wait would never be ended: ListJobs answers RUNNING ones unless told", "internal/kind/jobqueue/remove.go",
			"		string(types.JobStatusSubmitted), string(types.JobStatusPending), string(types.JobStatusRunnable), string(types.JobStatusStarting), string(types.JobStatusRunning),",
			"		string(types.JobStatusRunning),", queue,
		},
		{
			"jobs-page-forgotten", "jobs beyond the first page would never be ended", "internal/kind/jobqueue/remove.go",
			`	if token := aws.ToString(out.NextToken); token != "" {`, "	if token := aws.ToString(out.NextToken); false {", queue,
		},
	}
}

// awsMutations spoil how AWS's answers are read.
func awsMutations() []mutation {
	const (
		file  = "internal/awserr/awserr.go"
		tests = "./internal/awserr"
	)

	return []mutation{
		{"throttled-is-invalid", "a throttle would fail the operation", file, `{"Throttling*", "", deploy.Throttled},`, `{"Throttling*", "", deploy.Invalid},`, tests},
		{
			"message-ignored", "Batch says ClientException for everything: a resource being modified would fail the operation", file,
			`	{"ClientException", "resource is being modified", deploy.NotReady},
`, "", tests,
		},
		{"dependency-is-final", "the first lingering network interface would end a delete", file, `{"DependencyViolation", "", deploy.NotReady},`, `{"DependencyViolation", "", deploy.Conflict},`, tests},
		{"unanswered-is-final", "a lost answer would fail the operation", file, `e := deploy.Errorf(deploy.Transient, "aws_unanswered", "%w", err)`, `e := deploy.Errorf(deploy.Internal, "aws_unanswered", "%w", err)`, tests},
		{"remedy-missing", "the owner would not learn what to do about a quota", file, `		return "Request an increase of the quota in Service Quotas, or delete something that counts against it, and try again."`, `		return ""`, tests},
		{
			"started-twice-is-an-error", "an operation whose start was answered late would be started again under the next epoch", "internal/awssfn/awssfn.go",
			`	if err != nil && awserr.Code(err) != "ExecutionAlreadyExists" {`, "	if err != nil {", "./internal/awssfn",
		},
		{
			"never-started-is-an-error", "an operation whose api died would never be started", "internal/awssfn/awssfn.go",
			`	if awserr.Code(err) == "ExecutionDoesNotExist" {`, "	if false {", "./internal/awssfn",
		},
	}
}

// edgeMutations spoil who is let in and what is let out.
func edgeMutations() []mutation {
	return []mutation{
		{
			"tenant-from-header", "anybody could be any tenant", "internal/lambdahttp/principal.go",
			"		return p.token(a.JWT.Claims)\n",
			"		who, err := p.token(a.JWT.Claims)\n		if t := r.Header.Get(\"X-Tenant\"); t != \"\" {\n			who.Tenant = t\n		}\n\n		return who, err\n",
			"./internal/lambdahttp",
		},
		{
			"unknown-role-let-in", "a token for another service would open this one", "internal/lambdahttp/principal.go",
			"	if len(roles) == 0 {", "	if false {", "./internal/lambdahttp",
		},
		{
			"panic-tells", "what a panic holds would end in the state machine's history", "internal/lambdastep/lambdastep.go",
			`				err = named("Internal", "The function met an error of its own; its log tells more.")`, `				err = named("Internal", fmt.Sprint(r))`, "./internal/lambdastep",
		},
		{
			"unnamed-error-tells", "what an error holds would end in the state machine's history", "internal/lambdastep/lambdastep.go",
			`		return out, named("Internal", "The function met an error of its own; its log tells more.")`, `		return out, named("Internal", err.Error())`, "./internal/lambdastep",
		},
		{
			"signal-unnamed", "Step Functions would see a Go type that no Retry knows", "internal/lambdastep/lambdastep.go",
			"			return out, named(string(s.Name), s.Message)", "			return out, s", "./internal/lambdastep",
		},
	}
}

// steerMutations spoil the ways out of a stuck operation.
func steerMutations() []mutation {
	const file = "internal/workflow/steer.go"

	return []mutation{
		{"cancel-of-delete", "a delete that was cancelled halfway would leave half a deployment", file, "		case op.Kind == deploy.Delete:\n			return false, deploy.Errorf", "		case false:\n			return false, deploy.Errorf", workflow},
		{
			"steer-keeps-epoch", "the execution that was cancelled would go on creating", file,
			"	header.Epoch++\n	op.SteeredAt", "	op.SteeredAt", workflow,
		},
		{
			"already-unanswered", "a repeated request would be answered otherwise when what it asked for is over", "internal/workflow/control.go",
			"	if claim == nil {\n		return admitted, nil", "	if true {\n		return admitted, nil", workflow,
		},
		{
			"skip-of-what-is-at-work", "a skip that changes nothing would pass for one that did", file,
			"err != nil || !changed && step.LeftBehind {", "err != nil || !changed {", workflow,
		},
		{"skip-not-recorded", "what an admin left behind would keep the operation from ending", file, "deploy.StepSkipped, true, c.Clock.Now()", "deploy.StepSkipped, false, c.Clock.Now()", workflow},
		{
			"resume-rolls-back", "whoever resumed a create that got stuck with its probe would lose the environment", file,
			"		op.State, record.Deployment.Phase = deploy.Running, deploy.PhaseCreating\n", "		op.State, record.Deployment.Phase = deploy.RollingBack, deploy.PhaseCreating\n", lives,
		},
		{"resume-of-skipped", "what an admin left behind would be removed after all", file, "		if s := r.Remove; s != nil && !s.LeftBehind && (", "		if s := r.Remove; s != nil && (", workflow},
		{"resume-of-done", "an operation that has ended would begin again", file, "	if op.State != deploy.NeedsAttention {", "	if false {", workflow},
		{"skip-of-anything", "a skip could forget what was never to be removed", file, "		if r.Remove.State != deploy.StepGone && r.Remove.State != deploy.StepKept {", "		if true {", workflow},
	}
}

// trapMutations take out what stands against one strict rule of internal/local/awsproxy each, where the mutations above do not. tests/metaflow meets them all in
// whole lives.
func trapMutations() []mutation {
	const (
		answers = "internal/awserr/awserr.go"
		reads   = "./internal/awserr"
		profile = "internal/kind/instanceprofile/instanceprofile.go"
	)

	return []mutation{
		{"throttle-ec2", "EC2's word for a throttle would fail the operation", answers, `	{"RequestLimitExceeded", "", deploy.Throttled},
`, "", reads},
		{"throttle-batch", "Batch's word for a throttle would fail the operation", answers, `	{"TooManyRequestsException", "", deploy.Throttled},
`, "", reads},
		{"throttle-s3", "S3's word for a throttle would fail the operation", answers, `{"SlowDown", "", deploy.Throttled}`, `{"SlowDown", "", deploy.Invalid}`, reads},
		{"batch-relationship", "what Batch remembers of a queue that is gone would fail a delete", answers, `	{"ClientException", "found existing JobQueue relationship", deploy.NotReady},
`, "", reads},
		{
			"queue-environments", "an environment that somebody else updates would fail the queue", answers,
			`{"ClientException", "is not in VALID state", deploy.NotReady}`, `{"ClientException", "is not in VALID state", deploy.Invalid}`, reads,
		},
		{
			"batch-states-environment", "queues would be made on an environment that Batch is still making", "internal/kind/computeenvironment/computeenvironment.go",
			`	default: // CREATING, UPDATING, and DELETING: the name is free again when that is over
		return result, nil
`, "	default:\n", compute,
		},
		{
			"batch-states-queue", "a deployment would be called ready whose queue takes no jobs yet", "internal/kind/jobqueue/jobqueue.go",
			`	default: // CREATING, UPDATING, and DELETING: the name is free again when that is over
		return result, nil
`, "	default:\n", queue,
		},
		{"ec2-states", "an endpoint would be called ready that carries nothing yet", "internal/kind/vpcendpoint/vpcendpoint.go", `	case "pending", "deleting":`, `	case "deleting":`, endpoint},
		{"endpoint-route-taken", "nobody would learn whose endpoint is in the way", "internal/kind/vpcendpoint/vpcendpoint.go", `		if awserr.Code(err) == "RouteAlreadyExists" {`, "		if false {", endpoint},
		{
			"young-role", "an environment that was INVALID because of a young role would stay so", "internal/kind/computeenvironment/invalid.go",
			`	if c.Memo[memoNudged] != "" && age(c, memoNudged) < nudge {`, "	if true {", compute,
		},
		{
			"profile-propagation", "EC2 would be given a profile that it does not see yet", profile,
			"	result.Done = seen(c) && c.Now().Sub(aws.ToTime(profile.CreateDate)) >= youngest", "	result.Done = true", "./internal/kind/instanceprofile",
		},
		{"boundary", "nobody would learn that the installation's boundary is gone", "internal/kind/iamrole/iamrole.go", "	if awserr.Gone(err) { // the boundary is all that", "	if false { // the boundary is all that", role},
	}
}

// sweepMutations make the sweeper bold.
func sweepMutations() []mutation {
	const (
		verdict = "internal/sweep/verdict.go"
		file    = "internal/sweep/sweep.go"
		tests   = "./internal/sweep"
	)

	return []mutation{
		{"list-page-forgotten-vpc", "the sweeper would never see what stands on the second page", "internal/kind/vpc/list.go", "	for pages.HasMorePages() {", "	if pages.HasMorePages() {", contract},
		{"list-page-forgotten-bucket", "the sweeper would never see what stands on the second page", "internal/kind/bucket/list.go", "	for pages.HasMorePages() {", "	if pages.HasMorePages() {", contract},
		{"sweeper-trusts-empty-table", "a restored or wrong table would cost every deployment", verdict, "	if deployments == 0 {", "	if false {", tests},
		{"sweeper-trusts-old-table", "a table restored to an earlier day would cost what was made since", verdict, "	if unknown > 1 && unknown*10 > seen {", "	if false {", tests},
		{"sweeper-takes-kept", "data that a delete kept would be removed", verdict, "	case kept:\n", "	case kept && false:\n", tests},
		{"sweeper-takes-data", "data would be removed because a record was lost", verdict, "	case t.about.HoldsData:", "	case false:", tests},
		{"sweeper-races", "what an operation is making would be removed under its hands", verdict, "		if record.Deployment.Unfinished || record", "		if record", tests},
		{"sweeper-takes-skipped", "what an admin left behind would be removed after all", verdict, "		if err != nil || left {", "		if err != nil || left && false {", tests},
		{"sweeper-without-order", "a role would go before the environment that needs it", verdict, "		if slices.Contains(other.Needs, o.about.Name) || ", "		if ", tests},
		{"sweeper-hasty", "what a record is about to know would be removed", file, " && s.Clock.Now().Sub(o.note.FirstSeen) >= Grace {", " {", tests},
		{"sweeper-looks-once", "what a create has taken up meanwhile would be removed", file, "		if v.known {\n			return s.Notes", "		if v.known && false {\n			return s.Notes", tests},
	}
}
