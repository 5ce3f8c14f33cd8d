"""Requests with a token, from wherever credentials come, and the meaning of a refusal."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aed.target.boards import Board
from aed.target.cloud.credentials import (
    TOKEN,
    Account,
    account_in,
    ask_account,
    load_tokens,
    save_tokens,
    token_in,
)
from aed.target.cloud.endpoints import Endpoints
from aed.target.cloud.errors import CloudError
from aed.target.cloud.login import Tokens, refresh, sign_on
from aed.target.cloud.wire import Answer, Limit, Wire

log = logging.getLogger(__name__)


class Session:
    """A user of the service.

    Args:
        wire: Sends.
        endpoints: Addresses.
        environment: With credentials.
        token_file: Stores the tokens of a sign-on; null: none.
    """

    def __init__(
        self, wire: Wire, endpoints: Endpoints, environment: Mapping[str, str], token_file: Path | None = None
    ) -> None:
        self.wire, self.endpoints, self._environment, self._token_file = wire, endpoints, environment, token_file
        self._tokens: Tokens | None = None
        self._account: Account | None = None
        self._refused: CloudError | None = None

    def call(
        self,
        method: str,
        url: str,
        limit: Limit,
        board: Board | None = None,
        repeat: bool | None = None,
        **content: Any,
    ) -> Answer:
        """The answer to a request with a token, which is renewed once where it is refused.

        Raises:
            CloudError: The status is none of success.
        """
        tokens = self.signed_on(limit)
        answer = self.wire.send(method, url, limit, token=tokens.access, repeat=repeat, **content)
        if answer.status == 401 and (fresh := self._renewed(limit)):
            answer = self.wire.send(method, url, limit, token=fresh.access, repeat=repeat, **content)
        if not 200 <= answer.status < 300:
            raise self._refusal(answer, board)
        return answer

    def _refusal(self, answer: Answer, board: Board | None) -> CloudError:
        """The error that a status stands for."""
        where = f"{answer.host}: status {answer.status}, {self.wire.excerpt(answer)}"
        if answer.status == 401:
            text = f"the token is refused or has expired; get a new one for {TOKEN}, or set user and password"
            return CloudError("credentials", f"{where}: {text}", answer.status)
        if answer.status == 403:
            text = "the account may not do this; accept the terms at https://stedgeai-dc.st.com in a browser"
            return CloudError("credentials", f"{where}: {text}", answer.status)
        if answer.status == 404 and board is not None:
            return CloudError("board", f"{where}: the farm has no {board.cloud_name}", answer.status)
        if answer.status in (400, 413, 415, 422):
            return CloudError("model", f"{where}: it refuses this model or what was asked of it", answer.status)
        if answer.status == 429:
            return CloudError("service", f"{where}: too many requests; try later", answer.status)
        return CloudError("service", f"{where}: the service is at fault or has changed; try later", answer.status)

    def content(self, answer: Answer) -> dict[str, Any]:
        """The JSON object of an answer."""
        content = self.wire.parse(answer)
        if not isinstance(content, dict):
            raise CloudError(
                "service", f"{answer.host}: need a JSON object, got {self.wire.excerpt(answer)}; try later"
            )
        return content

    def signed_on(self, limit: Limit) -> Tokens:
        """Tokens: of the environment, of the file, of a sign-on."""
        if self._tokens is None:
            tokens = token_in(self._environment)
            if tokens is None and self._token_file is not None:
                tokens = load_tokens(self._token_file)
            self._account = account_in(self._environment)
            if tokens is not None:
                self.wire.secrets.add(tokens.access, tokens.refresh)
                self._tokens = tokens
            else:
                self._account = self._account or ask_account()
                self._keep(self._sign_on(self._account, limit))
        assert self._tokens is not None
        return self._tokens

    def _renewed(self, limit: Limit) -> Tokens | None:
        """New tokens after a refusal; None: none available."""
        old = self._tokens
        if old is not None and old.refresh and (fresh := refresh(self.wire, self.endpoints, old.refresh, limit)):
            return self._keep(fresh)
        return self._keep(self._sign_on(self._account, limit)) if self._account is not None else None

    def _sign_on(self, account: Account, limit: Limit) -> Tokens:
        if self._refused is not None:  # each wrong password brings the account closer to being blocked
            raise self._refused
        log.info("Developer Cloud: signing on")
        try:
            return sign_on(self.wire, self.endpoints, account.user, account.password, limit)
        except CloudError as error:
            self._refused = error if error.kind in ("credentials", "blocked") else None
            raise

    def _keep(self, tokens: Tokens) -> Tokens:
        self._tokens = tokens
        if self._token_file is not None:
            save_tokens(self._token_file, tokens)
        return tokens
