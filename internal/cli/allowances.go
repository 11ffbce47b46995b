package cli

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/metaflow-deployer/metaflow-deployer/client"
)

// webhooks lists where events go, and changes that.
func (s *session) webhooks() *cobra.Command {
	c := &cobra.Command{Use: "webhooks", Short: "List where the tenant's events are sent", Args: cobra.NoArgs}
	c.RunE = s.run(func(ctx context.Context, _ []string) error {
		return listed(ctx, s, "There are no webhooks.", []string{"ID", "URL", "BY", "SINCE"}, each((*client.Client).Webhooks),
			func(w *client.Webhook) (json.RawMessage, []string) {
				return w.Raw, []string{w.ID, w.URL, w.Actor, stamp(w.Time)}
			})
	})

	add := &cobra.Command{Use: "add URL", Short: "Have events sent to a URL; shows the secret that signs them, once", Args: arguments}
	add.RunE = s.run(func(ctx context.Context, args []string) error {
		return acted(ctx, s, func(api *client.Client) (json.RawMessage, string, error) {
			w, err := api.Subscribe(ctx, args[0])
			if err != nil {
				return nil, "", &located{err, places{"/url": "URL"}}
			}

			return w.Raw, fmt.Sprintf("Events go to %s from now on.\nid      %s\nsecret  %s\nKeep the secret: it is not shown again.", w.URL, w.ID, w.Secret), nil
		})
	})

	remove := &cobra.Command{Use: "remove ID", Short: "Have no more events sent to a webhook", Args: arguments}
	remove.RunE = s.run(func(ctx context.Context, args []string) error {
		return acted(ctx, s, func(api *client.Client) (json.RawMessage, string, error) {
			return nil, "No more events go there.", api.Unsubscribe(ctx, args[0])
		})
	})

	c.AddCommand(add, remove)

	return c
}

// grants lists what admins allowed a tenant, and changes that.
func (s *session) grants() *cobra.Command {
	c := &cobra.Command{Use: "grants", Short: "List what admins allowed the tenant", Args: cobra.NoArgs}
	c.RunE = s.run(func(ctx context.Context, _ []string) error {
		return listed(ctx, s, "There are no grants.", []string{"KIND", "VALUE", "BY", "SINCE"}, each((*client.Client).Grants),
			func(g *client.Grant) (json.RawMessage, []string) {
				return g.Raw, []string{g.Kind, g.Value, g.Actor, stamp(g.Time)}
			})
	})

	allow := &cobra.Command{Use: "allow KIND VALUE", Short: "Allow the tenant (--tenant) a bucket, a role, a stack-account; admins only", Args: arguments}
	allow.RunE = s.run(func(ctx context.Context, args []string) error {
		return acted(ctx, s, func(api *client.Client) (json.RawMessage, string, error) {
			g, err := api.Allow(ctx, args[0], args[1])
			if err != nil {
				return nil, "", &located{err, places{"/kind": "KIND", "/value": "VALUE"}}
			}

			return g.Raw, fmt.Sprintf("Tenant %s may use the %s %s.", g.Tenant, g.Kind, g.Value), nil
		})
	})

	withdraw := &cobra.Command{Use: "withdraw KIND VALUE", Short: "Take it back; what uses it already goes on; admins only", Args: arguments}
	withdraw.RunE = s.run(func(ctx context.Context, args []string) error {
		return acted(ctx, s, func(api *client.Client) (json.RawMessage, string, error) {
			if err := api.Withdraw(ctx, args[0], args[1]); err != nil {
				return nil, "", &located{err, places{"kind": "KIND", "value": "VALUE"}}
			}

			return nil, "It is not allowed any more.", nil
		})
	})

	c.AddCommand(allow, withdraw)

	return c
}

// acted does something that is done at once, and says so.
func acted(ctx context.Context, s *session, act func(*client.Client) (doc json.RawMessage, said string, err error)) error {
	api, err := s.client(ctx)
	if err != nil {
		return err
	}

	doc, said, err := act(api)
	if err != nil {
		return err
	}

	if s.output != "text" && doc != nil {
		return printDoc(s.Out, s.output, doc)
	}

	_, err = fmt.Fprintln(s.Out, said)

	return err
}
