// Every word of the page, in both languages.

const WORDS = {
  zh: {
    brand: "微信沙箱", tagline: "本地模拟 · 不连接微信服务器", other: "English", live: "实时", offline: "重新连接中…",
    wechat: "微信", service: "服务通知", empty: "还没有消息", emptyHint: "关注公众号，或订阅小程序消息后，后端发送的卡片会出现在这里。",
    detail: "查看详情", enter: "进入小程序查看", inspect: "消息", accounts: "账号与订阅", callbacks: "事件推送",
    pick: "在手机上点一张卡片，这里会对照显示发送的 JSON 与用户看到的内容。", shown: "用户看到的", request: "实际发送的 JSON",
    interface: "接口", account: "账号", time: "时间", status: "结果", tapped: "已点击", untapped: "未点击", leads: "点击后",
    follow: "关注", following: "已关注", unfollow: "取消关注", official: "公众号", miniprogram: "小程序", blocks: "拒收该账号消息",
    remaining: (n) => `剩余 ${n} 次`, longTerm: "长期订阅", noGrant: "未订阅", always: { accept: "总是允许", reject: "总是拒绝" },
    template: "模板消息", ask: "弹出订阅框", receive: "接收", subscriptions: "订阅消息", templateMessages: "模板消息（可单独关闭）",
    asks: (name) => `${name} 申请向你发送消息`, once: "一次性订阅，每次允许可收到一条", long: "长期订阅",
    keep: "总是保持以上选择，不再询问", allow: "允许", refuse: "拒绝", cancel: "取消", scanHint: "扫码：粘贴 qrcode/create 返回的 ticket 或 url", scan: "扫一扫",
    opensPage: "打开网页", opensProgram: "打开小程序", opensNothing: "这张卡片没有跳转", open: "在新标签页打开", close: "关闭", fallback: "旧版本打开",
    noPushes: "还没有推送。给账号配置回调地址后，每次推送和重试都会显示在这里。", tries: (n) => `${n} 次`, answered: "已应答", givenUp: "已放弃", waiting: "进行中",
    noCallback: "未配置回调", template_off: "已关闭",
  },
  en: {
    brand: "WeChat sandbox", tagline: "a local stand-in · talks to no WeChat server", other: "中文", live: "Live", offline: "Reconnecting…",
    wechat: "WeChat", service: "Service notices", empty: "No messages yet", emptyHint: "Follow the official account or accept a subscription; cards your backend sends appear here.",
    detail: "View details", enter: "Open mini program", inspect: "Message", accounts: "Accounts", callbacks: "Events",
    pick: "Tap a card on the phone to compare the JSON that was sent with what the person sees.", shown: "What the person sees", request: "The JSON that was sent",
    interface: "API", account: "Account", time: "Time", status: "Result", tapped: "tapped", untapped: "not tapped", leads: "A tap leads to",
    follow: "Follow", following: "Following", unfollow: "Unfollow", official: "Official account", miniprogram: "Mini program", blocks: "Block this account's messages",
    remaining: (n) => `${n} left`, longTerm: "long-term", noGrant: "not subscribed", always: { accept: "always allow", reject: "always refuse" },
    template: "template message", ask: "Ask on the phone", receive: "receive", subscriptions: "Subscriptions", templateMessages: "Template messages (each can be switched off)",
    asks: (name) => `${name} asks to send you messages`, once: "One-time: each Allow is good for one message", long: "Long-term",
    keep: "Always keep these choices", allow: "Allow", refuse: "Refuse", cancel: "Cancel", scanHint: "Scan: paste the ticket or url from qrcode/create", scan: "Scan",
    opensPage: "Opens a web page", opensProgram: "Opens the mini program", opensNothing: "This card leads nowhere", open: "Open in a new tab", close: "Close", fallback: "Old clients open",
    noPushes: "No pushes yet. With a callback URL on an account, each push and each retry is listed here.", tries: (n) => (n === 1 ? "1 try" : `${n} tries`), answered: "answered", givenUp: "given up", waiting: "under way",
    noCallback: "no callback URL", template_off: "off",
  },
};

export const words = (language) => WORDS[language];
export const locale = (language) => (language === "zh" ? "zh-CN" : "en-GB");
