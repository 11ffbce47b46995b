package servicelinkedrole

import "github.com/metaflow-deployer/metaflow-deployer/internal/kind"

// Named implements kind.Planned.
func (*ServiceLinkedRole) Named(*kind.Call) string { return role }

// Template implements kind.Planned: there is none. The role is the account's, and a stack would fail where it is there, and take it away from others.
func (*ServiceLinkedRole) Template(*kind.Call) kind.Template { return kind.Template{} }
