"""WeChat's API as one table: method, path, who answers, who may call."""

from __future__ import annotations

from typing import Final

from hub.sandbox import (
    binding,
    newtmpl,
    oauth,
    other_sends,
    quotas,
    subscribe_send,
    template_send,
    templates,
    tokens,
)
from hub.sandbox.pipeline import Endpoint
from hub.sandbox.state import AccountKind

_OFFICIAL: Final = (AccountKind.OFFICIAL,)
_PROGRAM: Final = (AccountKind.MINIPROGRAM,)
# /sns answers JSON as text/plain: clients that parse by media type fail on it.
_PLAIN: Final = "text/plain"

ENDPOINTS: Final = (
    Endpoint("GET", "/cgi-bin/token", tokens.legacy, token=False),
    Endpoint("POST", "/cgi-bin/stable_token", tokens.stable, token=False),
    Endpoint("POST", "/cgi-bin/message/template/send", template_send.send, kinds=_OFFICIAL),
    Endpoint("POST", "/cgi-bin/message/template/subscribe", other_sends.one_time, kinds=_OFFICIAL),
    Endpoint("POST", "/cgi-bin/message/subscribe/bizsend", subscribe_send.bizsend, kinds=_OFFICIAL),
    Endpoint("POST", "/cgi-bin/message/subscribe/send", subscribe_send.send, kinds=_PROGRAM),
    Endpoint("POST", "/cgi-bin/message/custom/send", other_sends.custom),
    Endpoint("POST", "/cgi-bin/message/wxopen/template/uniform_send", other_sends.withdrawn),
    Endpoint("POST", "/cgi-bin/message/wxopen/template/send", other_sends.retired),
    Endpoint("POST", "/cgi-bin/template/api_set_industry", templates.set_industry, kinds=_OFFICIAL),
    Endpoint("GET", "/cgi-bin/template/get_industry", templates.get_industry, kinds=_OFFICIAL),
    Endpoint("POST", "/cgi-bin/template/api_add_template", templates.add, kinds=_OFFICIAL),
    Endpoint("GET", "/cgi-bin/template/get_all_private_template", templates.get_all_private, kinds=_OFFICIAL),
    Endpoint("POST", "/cgi-bin/template/del_private_template", templates.delete, kinds=_OFFICIAL),
    Endpoint("POST", "/wxa/sec/queryblocktmplmsg", templates.blocked, kinds=_OFFICIAL),
    Endpoint("GET", "/wxaapi/newtmpl/getcategory", newtmpl.categories),
    Endpoint("GET", "/wxaapi/newtmpl/getpubtemplatetitles", newtmpl.titles),
    Endpoint("GET", "/wxaapi/newtmpl/getpubtemplatekeywords", newtmpl.keywords),
    Endpoint("POST", "/wxaapi/newtmpl/addtemplate", newtmpl.add),
    Endpoint("GET", "/wxaapi/newtmpl/gettemplate", newtmpl.get),
    Endpoint("POST", "/wxaapi/newtmpl/deltemplate", newtmpl.delete),
    Endpoint("GET", "/sns/jscode2session", binding.login, token=False, media_type=_PLAIN),
    Endpoint("GET", "/wxa/checksession", binding.check_session, kinds=_PROGRAM),
    Endpoint("GET", "/wxa/resetusersessionkey", binding.reset_session, kinds=_PROGRAM),
    Endpoint("GET", "/sns/oauth2/access_token", oauth.access_token, token=False, media_type=_PLAIN),
    Endpoint("GET", "/sns/oauth2/refresh_token", oauth.refresh_token, token=False, media_type=_PLAIN),
    Endpoint("GET", "/sns/auth", oauth.check, token=False, media_type=_PLAIN),
    Endpoint("GET", "/sns/userinfo", oauth.user_info, token=False, media_type=_PLAIN),
    Endpoint("GET", "/cgi-bin/user/info", binding.user_info, kinds=_OFFICIAL),
    Endpoint("POST", "/cgi-bin/qrcode/create", binding.create_qrcode, kinds=_OFFICIAL),
    Endpoint("POST", "/cgi-bin/openapi/quota/get", quotas.get),
    Endpoint("POST", "/cgi-bin/openapi/quota/clear", quotas.clear_path),
    Endpoint("POST", "/cgi-bin/clear_quota", quotas.clear),
    Endpoint("POST", "/cgi-bin/clear_quota/v2", quotas.clear_with_secret, token=False),
    Endpoint("POST", "/cgi-bin/openapi/rid/get", quotas.explain),
)
