// Package awsconf starts a function: it reads what the function is told by its environment and loads the SDK's configuration, once. No other room reads the
// environment.
package awsconf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
)

// Start is the main of every function: settings and SDK go to wire, whose handler Lambda calls from then on. A function that cannot start says why in its
// log and exits with 1.
func Start[C, H any](wire func(log *slog.Logger, sdk aws.Config, c C) (H, error)) {
	log := Logger()

	handler, err := begin(context.Background(), log, wire)
	if err != nil {
		log.Error("start", "error", err)
		os.Exit(1)
	}

	lambda.Start(handler)
}

func begin[C, H any](ctx context.Context, log *slog.Logger, wire func(*slog.Logger, aws.Config, C) (H, error)) (H, error) {
	var none H

	c, err := Load[C]()
	if err != nil {
		return none, err
	}

	sdk, err := SDK(ctx)
	if err != nil {
		return none, err
	}

	return wire(log, sdk, c)
}

// Load fills a struct from the environment: each field with an `env:"NAME"` tag from that variable. Every variable that is missing or empty is reported
// at once, save those tagged `env:"NAME,optional"`. template.yaml sets exactly these variables; a test compares the two.
func Load[T any]() (T, error) {
	var (
		c       T
		missing []error
	)

	v := reflect.ValueOf(&c).Elem()
	for i := range v.NumField() {
		name, option, _ := strings.Cut(v.Type().Field(i).Tag.Get("env"), ",")

		value := os.Getenv(name)
		if value == "" && option != "optional" {
			missing = append(missing, fmt.Errorf("the environment variable %s is not set", name))
		}

		v.Field(i).SetString(value)
	}

	return c, errors.Join(missing...)
}

// SDK loads the SDK's configuration: region, credentials and endpoint come from the environment, as on Lambda.
func SDK(ctx context.Context) (aws.Config, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithAppID("metaflow-deployer"))
	if err != nil {
		return aws.Config{}, fmt.Errorf("load the AWS configuration: %w", err)
	}

	return cfg, nil
}

// Logger writes JSON with the request id to standard output, at the level that Lambda's log settings ask for.
func Logger() *slog.Logger {
	return slog.New(lambdacontext.NewLogHandler())
}

// JSON parses an environment variable that holds a JSON value.
func JSON[T any](name, text string) (T, error) {
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return v, fmt.Errorf("read %s: %w", name, err)
	}

	return v, nil
}
