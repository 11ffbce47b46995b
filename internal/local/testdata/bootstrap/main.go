// Command bootstrap is a Lambda function that does what its event says, for the tests of the local
// gateway.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambda/messages"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

type event struct {
	Do   string `json:"do"`
	Name string `json:"name"`
	// File is created when the handler has begun, for tests that must not guess.
	File    string `json:"file"`
	RawPath string `json:"rawPath"`
	Body    string `json:"body"`
	Source  string `json:"source"`
}

func handle(ctx context.Context, raw json.RawMessage) (any, error) {
	var e event
	if err := json.Unmarshal(raw, &e); err != nil {
		return nil, err
	}
	if e.RawPath != "" && e.Body != "" && json.Valid([]byte(e.Body)) {
		if err := json.Unmarshal([]byte(e.Body), &e); err != nil {
			return nil, err
		}
	}
	if e.File != "" {
		if err := os.WriteFile(e.File, raw, 0o600); err != nil {
			return nil, err
		}
	}
	switch e.Do {
	case "sleep":
		time.Sleep(time.Hour)
	case "until": // goes on when the named file exists
		for range 3000 {
			if _, err := os.Stat(e.Name); err == nil {
				return os.Getpid(), nil
			}
			time.Sleep(10 * time.Millisecond)
		}
		return nil, errors.New("nobody came")
	case "exit":
		os.Exit(7)
	case "panic":
		panic("on purpose")
	case "fail":
		return nil, messages.InvokeResponse_Error{Type: e.Name, Message: "on purpose"}
	case "pid":
		return os.Getpid(), nil
	case "env":
		env := map[string]string{}
		for _, v := range os.Environ() {
			name, value, _ := strings.Cut(v, "=")
			env[name] = value
		}
		return env, nil
	case "context":
		lc, _ := lambdacontext.FromContext(ctx)
		deadline, _ := ctx.Deadline()
		return map[string]any{
			"requestId": lc.AwsRequestID, "arn": lc.InvokedFunctionArn, "left": time.Until(deadline).Seconds(),
		}, nil
	case "big":
		return strings.Repeat("x", 7<<20), nil
	}
	if e.RawPath != "" {
		return map[string]any{"statusCode": 200, "headers": map[string]string{"content-type": "application/json"}, "body": string(raw)}, nil
	}
	fmt.Println("echo", string(raw))
	return raw, nil
}

func main() {
	if os.Getenv("BROKEN") != "" {
		os.Exit(3)
	}
	lambda.Start(handle)
}
