// Command bare is the baseline for calls and time: a program that makes the resources of the default environment with AWS's SDK, one after the other, and
// takes them away again. It looks only where AWS makes it wait, keeps nothing but what it prints, repeats nothing and cannot roll back: nobody can do with
// fewer calls, and nobody should do with so few.
//
//	bare create NAME > state.json
//	bare delete < state.json
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/batch"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// state is what a delete must know.
type state struct {
	Name, VPC, Gateway, Table, Endpoint, Group, Template string
	Subnets, Associations                                []string
}

// program is one run.
type program struct {
	state

	s3    *s3.Client
	iam   *iam.Client
	ec2   *ec2.Client
	batch *batch.Client
}

type step func(context.Context) error

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}

	p := &program{
		s3:  s3.NewFromConfig(cfg, func(o *s3.Options) { o.UsePathStyle = true }),
		iam: iam.NewFromConfig(cfg), ec2: ec2.NewFromConfig(cfg), batch: batch.NewFromConfig(cfg),
	}

	switch {
	case len(args) == 2 && args[0] == "create":
		p.Name = args[1]

		if err := each(ctx, p.makeBucket, p.makeRoles, p.makeNetwork, p.makeCompute); err != nil {
			return err
		}

		return json.NewEncoder(os.Stdout).Encode(p.state)
	case len(args) == 1 && args[0] == "delete":
		if err := json.NewDecoder(os.Stdin).Decode(&p.state); err != nil {
			return err
		}

		return each(ctx, p.removeCompute, p.removeNetwork, p.removeRoles, p.removeBucket)
	default:
		return errors.New("usage: bare create NAME | bare delete")
	}
}

func each(ctx context.Context, steps ...step) error {
	for _, s := range steps {
		if err := s(ctx); err != nil {
			return err
		}
	}

	return nil
}

// call makes a step of a call whose answer does not matter.
func call[I, O, Opt any](f func(context.Context, *I, ...Opt) (*O, error), in I) step {
	return func(ctx context.Context) error {
		_, err := f(ctx, &in)

		return err
	}
}

// until looks each second.
func until(ctx context.Context, look func(context.Context) (bool, error)) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()

	for {
		done, err := look(ctx)
		if done || err != nil {
			return err
		}

		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tags are as many as the product's.
func (p *program) tags() map[string]string {
	return map[string]string{"bare:installation": "bare", "bare:tenant": "research", "bare:deployment": p.Name, "bare:resource": "bare"}
}

func (p *program) text(v any) *string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // literals of this program
	}

	return aws.String(string(b))
}
