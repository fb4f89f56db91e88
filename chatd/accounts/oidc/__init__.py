"""Sign-in with an OpenID provider.

`provider` and `http` ask it, by allauth; `exchange` is one sign-in as the protocol has it;
`id_token` says whether to believe the answer; `claims` reads it; `people` and `groups` are the
actions that follow from it; `tokens` keeps the tokens for calls in somebody's name.
"""
