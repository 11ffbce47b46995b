package deploy_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

func anOwner() deploy.Owner {
	return deploy.Owner{
		Installation: "prod", Partition: "aws-cn", Account: "123456789012", Region: "cn-north-1", Tenant: "acme", Name: "research",
		Tags: map[string]string{"team": "ml"},
	}
}

// TestSlugTellsOwnersApart: two owners that differ in anything must not meet in one bucket.
func TestSlugTellsOwnersApart(t *testing.T) {
	t.Parallel()

	changes := map[string]func(*deploy.Owner){
		"installation": func(o *deploy.Owner) { o.Installation = "test" },
		"account":      func(o *deploy.Owner) { o.Account = "210987654321" },
		"region":       func(o *deploy.Owner) { o.Region = "cn-northwest-1" },
		"tenant":       func(o *deploy.Owner) { o.Tenant = "other" },
		"name":         func(o *deploy.Owner) { o.Name = "research2" },
		"a letter that moves from name to tenant": func(o *deploy.Owner) { o.Tenant, o.Name = "acmer", "esearch" },
	}

	seen := map[string]string{anOwner().Slug(): "nothing"}

	for what, change := range changes {
		o := anOwner()
		change(&o)

		if other, taken := seen[o.Slug()]; taken {
			t.Errorf("owners that differ by %s and by %s have the slug %s", what, other, o.Slug())
		}

		seen[o.Slug()] = what
	}
}

func TestSlugIsShortAndHidesTheAccount(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := anOwner()
		o.Name = rapid.StringMatching(`[a-z][a-z0-9-]{0,22}[a-z0-9]`).Draw(t, "name")
		o.Account = rapid.StringMatching(`[0-9]{12}`).Draw(t, "account")
		o.Tenant = rapid.String().Draw(t, "tenant")

		slug := o.Slug()
		if len(slug) > 33 || strings.Contains(slug, o.Account) || strings.Trim(slug, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || slug != o.Slug() {
			t.Errorf("slug %q", slug)
		}
	})
}

// TestTokenIsTheOperations: the same for every attempt of one operation, another for the next one and for another resource.
func TestTokenIsTheOperations(t *testing.T) {
	t.Parallel()

	o := anOwner()

	token := o.Token("vpc", "research-1")
	if token != anOwner().Token("vpc", "research-1") || len(token) != 32 {
		t.Errorf("a repetition has the token %q", token)
	}

	if token == o.Token("vpc", "research-2") || token == o.Token("subnet/1", "research-1") {
		t.Error("another operation or resource has the same token: AWS would answer with a thing that is gone, or is something else")
	}
}

func TestOwns(t *testing.T) {
	t.Parallel()

	o := anOwner()

	tags := o.TagsFor("vpc")
	if !o.Owns("vpc", tags) || tags["team"] != "ml" {
		t.Errorf("our own tags do not tell that it is ours: %v", tags)
	}

	if o.Owns("vpc", nil) || o.Owns("subnet/1", tags) {
		t.Error("what carries no tags, or those of another resource, is not ours")
	}

	for k := range o.Identity("vpc") {
		other := o.TagsFor("vpc")
		other[k] = "somebody"

		if o.Owns("vpc", other) {
			t.Errorf("with another %s it is somebody else's", k)
		}

		delete(other, k)

		if o.Owns("vpc", other) {
			t.Errorf("without %s nobody knows whose it is", k)
		}
	}
}

func TestOwnersTagsDoNotHideOurs(t *testing.T) {
	t.Parallel()

	o := anOwner()
	o.Tags = map[string]string{deploy.TagTenant: "victim", "team": "ml"}

	if got := o.TagsFor("vpc")[deploy.TagTenant]; got != "acme" {
		t.Errorf("an owner's tag says that it belongs to %q", got)
	}

	if diff := cmp.Diff(map[string]string{deploy.TagTenant: "victim", "team": "ml"}, o.Tags); diff != "" {
		t.Errorf("the owner's own map was written to (-want +got):\n%s", diff)
	}
}

func TestARNIsOfThePartition(t *testing.T) {
	t.Parallel()

	if got, want := anOwner().ARN("s3", "", "", "b"), "arn:aws-cn:s3:::b"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestTagOwner: whoever created a deployment stands on everything of it, in characters that every service takes.
func TestTagOwner(t *testing.T) {
	t.Parallel()

	for name, c := range map[string]struct{ reason, by, want string }{
		"Mail":    {"as it is", "ada@example.com", "ada@example.com"},
		"ARN":     {"as it is", "arn:aws:sts::123456789012:assumed-role/dev/ada", "arn:aws:sts::123456789012:assumed-role/dev/ada"},
		"Subject": {"identity providers use signs that IAM refuses in tags", "auth0|5f7c8ec7c33c6c004bbafe82", "auth0_5f7c8ec7c33c6c004bbafe82"},
		"Long":    {"AWS takes 256 characters", strings.Repeat("ä", 300), strings.Repeat("ä", 256)},
		"Nobody":  {"no tag rather than an empty one", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			got, there := deploy.Owner{By: c.by}.TagsFor("vpc")[deploy.TagOwner]
			if got != c.want || there != (c.want != "") {
				t.Errorf("%s: %q, %v", c.reason, got, there)
			}
		})
	}
}
