"""The sign-in methods for Kubeflow, as `sign_in` in `mnist.toml` names them. The file itself holds no secret."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipelines.profiles import Table, Text


class NoSignIn(Table):
    """No sign-in, as behind `kubectl port-forward`."""

    method: Literal["none"] = "none"


class TokenSignIn(Table):
    """A bearer token from a file or an environment variable, read again for each call.

    Attributes:
        file, variable: Exactly one is set.
    """

    method: Literal["token"]
    file: Text | None = None
    variable: Text | None = None

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.file is None) == (self.variable is None):
            raise ValueError("has a sign_in that needs file or variable, exactly one of them.")
        return self


class DexSignIn(Table):
    """Dex, as installed by Kubeflow's manifests: signs in on its page and keeps the session cookie.

    Attributes:
        username: Often an e-mail address.
        password_file, password_variable: Exactly one is set.
    """

    method: Literal["dex"]
    username: Text
    password_file: Text | None = None
    password_variable: Text | None = None

    @model_validator(mode="after")
    def _has_one_source(self) -> Self:
        if (self.password_file is None) == (self.password_variable is None):
            raise ValueError("has a sign_in that needs password_file or password_variable, exactly one of them.")
        return self


class IapSignIn(Table):
    """Google's Identity-Aware Proxy, with the Google credentials of this machine.

    Attributes:
        client_id: The OAuth client of the proxy: "123-abc.apps.googleusercontent.com".
        service_account: The account to impersonate; required with a user's credentials.
    """

    method: Literal["iap"]
    client_id: Text
    service_account: Text | None = None


class ServiceAccountSignIn(Table):
    """The token that Kubernetes mounts into a pod of the same cluster, read again for each call."""

    method: Literal["service-account"]
    file: Text = "/var/run/secrets/kubeflow/pipelines/token"


SignIn = Annotated[NoSignIn | TokenSignIn | DexSignIn | IapSignIn | ServiceAccountSignIn, Field(discriminator="method")]
