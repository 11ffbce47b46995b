package kind

import (
	"context"

	"github.com/metaflow-deployer/metaflow-deployer/internal/deploy"
)

// Lister is a kind that can say what there is of it, beyond what any record knows. The sweeper asks; a shared kind has no Lister, because what belongs to
// the account is nobody's orphan.
type Lister interface {
	// List returns everything of this kind in the account and Region that carries the tags of the installation, whoever's deployment it is of: all pages,
	// without what AWS still shows although it is gone. Of the owner only Installation, Partition, Account and Region are set. It makes no changing call.
	List(ctx context.Context, place deploy.Owner) ([]Found, error)
}

// Found is one thing that List saw. ID is what Result.ID would be.
type Found struct {
	ID, ARN string
	Tags    map[string]string
}

// Ref is which resource of its deployment the thing says to be.
func (f Found) Ref() deploy.Ref { return deploy.Ref(f.Tags[deploy.TagResource]) }

// Of tells whether the thing carries the tags of that installation and of that kind.
func (f Found) Of(place deploy.Owner, kind string) bool {
	return f.Tags[deploy.TagInstallation] == place.Installation && f.Ref().Kind() == kind
}
