package awsproxy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
)

func otherCorrections() []entry {
	return []entry{
		{
			name:    "correction/table-id",
			source:  "DynamoDB API reference, TableDescription, TableId: unique for each table ever made. moto leaves it out.",
			service: "dynamodb", actions: []string{"CreateTable", "DescribeTable", "UpdateTable", "DeleteTable"}, apply: tableID,
		},
		{
			name: "correction/state-machine-taken",
			source: "Step Functions API reference, CreateStateMachine: idempotent for the same name, definition and type; another definition under a taken name " +
				"is refused with StateMachineAlreadyExists. moto changes nothing and says OK.",
			service: "sfn", actions: []string{"CreateStateMachine"}, apply: stateMachineTaken,
		},
		{
			name: "correction/isolated-transactions",
			source: "DynamoDB developer guide, Isolation levels: a transaction and any other write or read of the same items come one after the other. moto undoes " +
				"a refused transaction by putting back the whole table as it was at its beginning, and with it what others wrote meanwhile.",
			service: "dynamodb", apply: isolated,
		},
		{
			name: "correction/isolated-streams",
			source: "DynamoDB developer guide, Change data capture for DynamoDB Streams: a stream holds what was written. moto writes into it while a transaction is " +
				"under way, and takes that back if it refuses.",
			service: "dynamodbstreams", apply: isolated,
		},
	}
}

// isolated lets a transaction have the tables for itself.
func isolated(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	if c.action != "TransactWriteItems" {
		p.transactions.RLock()
		defer p.transactions.RUnlock()

		return next(ctx, c)
	}

	p.transactions.Lock()
	defer p.transactions.Unlock()

	p.touch(c, "correction/isolated-transactions")

	return next(ctx, c)
}

// Undisturbed acts while no transaction is under way: for whoever looks at moto past the proxy.
func (p *Proxy) Undisturbed(act func() error) error {
	p.transactions.RLock()
	defer p.transactions.RUnlock()

	return act()
}

func tableID(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	a, err := next(ctx, c)
	if err != nil || !a.ok() {
		return a, err
	}

	var out map[string]map[string]any
	if err := json.Unmarshal(a.body, &out); err != nil {
		return nil, fmt.Errorf("read moto's answer: %w", err)
	}

	for _, member := range []string{"Table", "TableDescription"} {
		table := out[member]
		if table == nil || table["TableId"] != nil {
			continue
		}

		// A table that is made again has another time of creation.
		sum := sha256.Sum256(fmt.Appendf(nil, "%v %v", table["TableArn"], table["CreationDateTime"]))
		s := hex.EncodeToString(sum[:16])
		table["TableId"] = s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]

		p.touch(c, "correction/table-id")
		a.setBody(mustJSON(out))
	}

	return a, nil
}

func stateMachineTaken(ctx context.Context, p *Proxy, c *call, next handler) (*answer, error) {
	arn := fmt.Sprintf("arn:aws:states:%s:%s:stateMachine:%s", c.region, c.account, c.text("name"))

	there, err := p.askJSON(ctx, c, "states", "AWSStepFunctions.DescribeStateMachine", map[string]any{"stateMachineArn": arn})
	if err != nil {
		return nil, err
	}

	var machine struct{ Definition, Type string }
	if !there.ok() || json.Unmarshal(there.body, &machine) != nil {
		return next(ctx, c)
	}

	kind := c.text("type")
	if kind == "" {
		kind = "STANDARD"
	}

	if machine.Definition == c.text("definition") && machine.Type == kind {
		return next(ctx, c)
	}

	p.touch(c, "correction/state-machine-taken")

	return c.refuse(http.StatusBadRequest, "StateMachineAlreadyExists", "State Machine Already Exists: '"+arn+"'"), nil
}
