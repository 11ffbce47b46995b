// Package deploy holds the nouns of the product: what an owner asks for (Spec), what the store keeps of it (Deployment, Resource, Operation),
// who owns it (Owner) and how things go wrong (Error).
//
// It imports the standard library only. It must not know AWS's SDK, HTTP, Lambda, Step Functions or DynamoDB: everything else in the product
// depends on it, so whatever it knew, everything would know.
package deploy
